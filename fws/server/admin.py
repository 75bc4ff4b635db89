"""The address of `[admin]`: plain HTTP for operators and back ends, beside the public port."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fws.config import Config, parse_listen
from fws.server.front import Application
from fws.server.listener import Listener
from fws.server.probes import Probes
from fws.server.sockets import address_of, listen, remove_socket_file
from fws.wire.proxy import parse_networks

if TYPE_CHECKING:
    from fws.config import Server
    from fws.server.monitor import Monitor
    from fws.server.node import Node

# Connections at a time. They do not count as clients, so that an operator reaches a server that is full.
CONNECTIONS = 100


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

    @property
    def connections(self) -> int:
        return self.arriving


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
            self._listener.close()
            if not shared:
                remove_socket_file(self.address)

    def stop(self) -> None:
        """Measure nothing more."""
        self._monitor.stop()


def open_admin(config: Config) -> Any:
    """The socket of the operators' listener; None if there is none. Raises StartError."""
    text = config.admin.listen
    return listen(parse_listen(text), option="[admin] listen") if text else None
