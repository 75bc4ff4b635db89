"""python-engineio, the transport of python-socketio, on gevent: WebSocket only, Engine.IO 4, payloads begin with "4".

The path that other servers see is in the query, as `path=`.
"""

import sys
from collections import defaultdict
from urllib.parse import parse_qs

import engineio
from gevent.pywsgi import WSGIServer
from geventwebsocket.handler import WebSocketHandler

server = engineio.Server(
    async_mode="gevent",
    cors_allowed_origins="*",
    ping_interval=300,
    ping_timeout=300,
    monitor_clients=False,
    http_compression=False,
    async_handlers=False,
)
channels = defaultdict(set)
paths = {}


@server.on("connect")
def connect(client, environ):
    paths[client] = path = parse_qs(environ["QUERY_STRING"])["path"][0]
    if path != "/echo":
        channels[path].add(client)


@server.on("message")
def message(client, data):
    path = paths[client]
    if path == "/echo":
        server.send(client, data)
        return
    for member in list(channels[path]):
        server.send(member, data)


@server.on("disconnect")
def disconnect(client, *reason):
    channels[paths.pop(client)].discard(client)


WSGIServer(
    ("127.0.0.1", int(sys.argv[1])),
    engineio.WSGIApp(server),
    handler_class=WebSocketHandler,
    log=None,
    backlog=1024,
).serve_forever()
