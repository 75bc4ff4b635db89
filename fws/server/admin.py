"""The address of `[admin]`: plain HTTP for operators and back ends, beside the public port."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent

from fws.config import Config, parse_listen
from fws.server.arrival import Arrival
from fws.server.front import Application
from fws.server.listener import Listener
from fws.server.probes import Probes
from fws.server.sockets import address_of, listen, remove_socket_file
from fws.server.waiting import shut_down
from fws.wire.proxy import parse_networks

if TYPE_CHECKING:
    from fws.config import Server
    from fws.server.monitor import Monitor
    from fws.server.node import Node
    from fws.workers.scoreboard import Row

logger = logging.getLogger("fws.http")

# Connections at a time. They do not count as clients, so that an operator reaches a server that is full.
CONNECTIONS = 100
# Seconds that answers have when the process ends.
ANSWERED = 0.5


class AdminListener(Listener):
    """Serves neither WebSockets nor TLS, and trusts no proxy.

    Nobody needs a key to connect. So that nobody keeps operators and probes away, a new connection takes the place of
    the one whose peer has been waited for longest.

    Args:
        listener: the socket, which the workers of a supervisor share.
    """

    websockets = False

    def __init__(self, listener: Any, application: Application, node: Node) -> None:
        super().__init__(listener, application, node, CONNECTIONS)
        self._open: set[Any] = set()
        # Those that have given their place away, and are about to end.
        self._cut: set[Any] = set()

    def configure(self, settings: Server, capacity: int) -> None:
        self.trusted = parse_networks([])
        self.proxy_protocol = False
        self._capacity = capacity

    def leave(self) -> None:
        """Accept no more connections. Those that are kept end with their next response."""
        self.draining = True
        self.close()

    def finish(self) -> None:
        """Wait for a moment until answers that are under way have been sent. End those that go on, such as taps."""
        until = time.monotonic() + ANSWERED
        while self.arriving and time.monotonic() < until:
            gevent.sleep(0.01)
        for sock in self._open:
            shut_down(sock)

    @property
    def connections(self) -> int:
        return self.arriving - len(self._cut)

    def handle(self, sock: Any, arrival: Arrival) -> bool:
        self._open.add(sock)
        try:
            return super().handle(sock, arrival)
        finally:
            self._open.discard(sock)
            self._cut.discard(sock)

    def _admit(self, address: str) -> Arrival | None:
        if self.connections >= self._capacity and (sock := self.waiting.end_first()) is not None:
            logger.warning("all %d connections of [admin] are in use: one that waits is ended", self._capacity)
            self._cut.add(sock)
        return super()._admit(address)


class AdminPort:
    """The second address of one process, from before its filters start until it has drained.

    Args:
        listener: the socket.
        application: answers what `Probes` does not.
        monitor: measures the process.

    Attributes:
        socket: the socket.
        address: where it listens.
    """

    def __init__(self, listener: Any, application: Application, monitor: Monitor, node: Node) -> None:
        self.socket = listener
        self.address = address_of(listener)
        self._monitor = monitor
        self._probes = Probes(application, monitor)
        self._listener = AdminListener(listener, self._probes, node)
        self._is_open = True
        monitor.start()
        # An operator learns that the server is starting. When workers are renewed, those that serve answer.
        if not monitor.others_serve:
            self._listener.start()

    def serve(self) -> None:
        """The filters have started: answer everything."""
        self._probes.started = True
        self._listener.start()

    def close(self, *, shared: bool) -> None:
        """Answer nothing more. May be called twice.

        Args:
            shared: whether other processes go on listening there.
        """
        if self._is_open:
            self._is_open = False
            self._listener.leave()
            if not shared:
                remove_socket_file(self.address)

    def share(self, row: Row, folder: Path) -> None:
        """As `Monitor.share`."""
        self._monitor.share(row, folder)

    def stop(self) -> None:
        """Send the answers that are under way, and measure nothing more. It is closed already."""
        self._listener.finish()
        self._monitor.stop()


def open_admin(config: Config) -> Any:
    """The socket of the operators' listener; None if there is none. Raises StartError."""
    text = config.admin.listen
    return listen(parse_listen(text), option="[admin] listen") if text else None
