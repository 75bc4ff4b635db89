"""The peer: a plain gevent-websocket server, as its documentation would have one write it."""

import sys

from gevent.pywsgi import WSGIServer
from geventwebsocket.exceptions import WebSocketError
from geventwebsocket.handler import WebSocketHandler

members = set()


def application(environ, start_response):
    websocket = environ["wsgi.websocket"]
    echo = environ["PATH_INFO"] == "/echo"
    members.add(websocket)
    try:
        while (message := websocket.receive()) is not None:
            if echo:
                websocket.send(message)
                continue
            for member in list(members):
                try:
                    member.send(message)
                except WebSocketError:
                    members.discard(member)
    finally:
        members.discard(websocket)
    return []


WSGIServer(
    ("127.0.0.1", int(sys.argv[1])), application, handler_class=WebSocketHandler, log=None, backlog=1024
).serve_forever()
