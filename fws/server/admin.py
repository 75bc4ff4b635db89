"""The listener of `[admin]`: plain HTTP for operators and back ends, beside the public port."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import gevent

from fws.config import Config, parse_listen
from fws.server.front import Application
from fws.server.listener import Listener
from fws.server.sockets import listen
from fws.wire.proxy import parse_networks

if TYPE_CHECKING:
    from fws.config import Server
    from fws.server.node import Node

# Connections at a time. They do not count as clients, so that an operator reaches a server that is full.
CONNECTIONS = 100
# Seconds that answers have when the process ends.
ANSWERED = 0.5


class AdminListener(Listener):
    """Serves neither WebSockets nor TLS, and trusts no proxy.

    Args:
        listener: the socket, which the workers of a supervisor share.
    """

    websockets = False

    def __init__(self, listener: Any, application: Application, node: Node) -> None:
        super().__init__(listener, application, node, CONNECTIONS)

    def configure(self, settings: Server, capacity: int) -> None:
        self.trusted = parse_networks([])
        self.proxy_protocol = False
        self._capacity = capacity

    def leave(self) -> None:
        """Accept no more connections. Those that are kept end with their next response."""
        self.draining = True
        self.close()

    def finish(self) -> None:
        """Wait for a moment until answers that are under way have been sent."""
        until = time.monotonic() + ANSWERED
        while self.arriving and time.monotonic() < until:
            gevent.sleep(0.01)

    @property
    def connections(self) -> int:
        return self.arriving


def open_admin(config: Config) -> Any:
    """The socket of the operators' listener; None if there is none. Raises StartError."""
    text = config.admin.listen
    return listen(parse_listen(text), option="[admin] listen") if text else None
