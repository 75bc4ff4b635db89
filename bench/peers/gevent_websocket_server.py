"""A plain gevent-websocket server, as its documentation would have one write it, with wsaccel installed.

Further arguments `tls CERTIFICATE KEY` are for TLS.
"""

import sys
from collections import defaultdict

from gevent.pywsgi import WSGIServer
from geventwebsocket.exceptions import WebSocketError
from geventwebsocket.handler import WebSocketHandler

channels = defaultdict(set)


def application(environ, start_response):
    websocket = environ["wsgi.websocket"]
    path = environ["PATH_INFO"]
    if path == "/echo":
        while (message := websocket.receive()) is not None:
            websocket.send(message)
        return []
    members = channels[path]
    members.add(websocket)
    try:
        while (message := websocket.receive()) is not None:
            for member in list(members):
                try:
                    member.send(message)
                except WebSocketError:
                    members.discard(member)
    finally:
        members.discard(websocket)
    return []


tls = {"certfile": sys.argv[3], "keyfile": sys.argv[4]} if sys.argv[2:3] == ["tls"] else {}
WSGIServer(
    ("127.0.0.1", int(sys.argv[1])), application, handler_class=WebSocketHandler, log=None, backlog=1024, **tls
).serve_forever()
