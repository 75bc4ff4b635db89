"""tornado, on asyncio's own loop."""

import asyncio
import sys
from collections import defaultdict

from tornado import web, websocket

channels = defaultdict(set)


class Echo(websocket.WebSocketHandler):
    def check_origin(self, origin):
        return True

    def on_message(self, message):
        self.write_message(message, isinstance(message, bytes))


class Channel(Echo):
    def open(self):
        self.members = channels[self.request.path]
        self.members.add(self)

    def on_close(self):
        self.members.discard(self)

    def on_message(self, message):
        for member in list(self.members):
            try:
                member.write_message(message)
            except websocket.WebSocketClosedError:
                self.members.discard(member)


async def main():
    application = web.Application([("/echo", Echo), ("/.*", Channel)], log_function=lambda handler: None)
    application.listen(int(sys.argv[1]), "127.0.0.1", backlog=1024)
    await asyncio.Event().wait()


asyncio.run(main())
