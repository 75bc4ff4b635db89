"""websockets (asyncio) with uvloop; a broadcast is its own `broadcast`. Pings are off.

A second argument `compressed` turns permessage-deflate on; `tls CERTIFICATE KEY` is for TLS.
"""

import asyncio
import ssl
import sys
from collections import defaultdict

import uvloop
from websockets.asyncio.server import broadcast, serve

COMPRESSION = "deflate" if "compressed" in sys.argv[2:] else None
CONTEXT = None
if sys.argv[2:3] == ["tls"]:
    CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CONTEXT.load_cert_chain(*sys.argv[3:5])
channels = defaultdict(set)


async def serve_client(websocket):
    path = websocket.request.path
    if path == "/echo":
        async for message in websocket:
            await websocket.send(message)
        return
    members = channels[path]
    members.add(websocket)
    try:
        async for message in websocket:
            broadcast(members, message)
    finally:
        members.discard(websocket)


async def main():
    async with serve(
        serve_client,
        "127.0.0.1",
        int(sys.argv[1]),
        compression=COMPRESSION,
        ssl=CONTEXT,
        ping_interval=None,
        backlog=1024,
        max_size=None,
    ):
        await asyncio.get_running_loop().create_future()


uvloop.run(main())
