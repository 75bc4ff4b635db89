"""picows (Cython) with uvloop."""

import sys
from collections import defaultdict

import uvloop
from picows import WSCloseCode, WSListener, WSMsgType, ws_create_server

channels = defaultdict(set)


class Echo(WSListener):
    def on_ws_connected(self, transport):
        pass

    def on_ws_frame(self, transport, frame):
        kind = frame.msg_type
        if kind == WSMsgType.CLOSE:
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()
        elif kind == WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif kind != WSMsgType.PONG:
            self.on_message(transport, kind, frame.get_payload_as_bytes())

    def on_message(self, transport, kind, payload):
        transport.send(kind, payload)


class Channel(Echo):
    def __init__(self, members):
        self.members = members

    def on_ws_connected(self, transport):
        self.members.add(transport)

    def on_ws_disconnected(self, transport):
        self.members.discard(transport)

    def on_message(self, transport, kind, payload):
        for member in list(self.members):
            member.send(kind, payload)


def listener(request):
    return Echo() if request.path == b"/echo" else Channel(channels[request.path])


async def main():
    server = await ws_create_server(listener, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    await server.serve_forever()


uvloop.run(main())
