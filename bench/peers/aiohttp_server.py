"""aiohttp with uvloop. A broadcast is a loop of `send_str`, which measured faster than `gather`.

A second argument `compressed` turns permessage-deflate on; `tls CERTIFICATE KEY` is for TLS.
"""

import ssl
import sys
from collections import defaultdict

import uvloop
from aiohttp import WSMsgType, web

COMPRESSED = "compressed" in sys.argv[2:]
channels = defaultdict(set)


async def echo(request):
    websocket = web.WebSocketResponse(compress=COMPRESSED, max_msg_size=0)
    await websocket.prepare(request)
    async for message in websocket:
        if message.type == WSMsgType.TEXT:
            await websocket.send_str(message.data)
        elif message.type == WSMsgType.BINARY:
            await websocket.send_bytes(message.data)
    return websocket


async def channel(request):
    websocket = web.WebSocketResponse(compress=COMPRESSED)
    await websocket.prepare(request)
    members = channels[request.path]
    members.add(websocket)
    try:
        async for message in websocket:
            for member in list(members):
                try:
                    await member.send_str(message.data)
                except ConnectionError:
                    members.discard(member)
    finally:
        members.discard(websocket)
    return websocket


context = None
if sys.argv[2:3] == ["tls"]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*sys.argv[3:5])
uvloop.install()
application = web.Application()
application.router.add_get("/echo", echo)
application.router.add_get("/{path:.*}", channel)
web.run_app(
    application,
    host="127.0.0.1",
    port=int(sys.argv[1]),
    ssl_context=context,
    access_log=None,
    print=None,
    backlog=1024,
)
