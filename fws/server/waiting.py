"""The connections of a listener that wait for their peers, and how the server ends them early."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gevent import socket


class Waiting(dict[Any, bool]):
    """Sockets that wait until their peer sends a request or reads an answer. The first one has waited for longest.

    The value says whether the connection is idle: its last request is answered, and no byte of another one has arrived.
    """

    @contextmanager
    def on(self, sock: Any) -> Iterator[None]:
        """Wait, inside the `with` statement, for the peer of a connection that is not idle."""
        self[sock] = False
        try:
            yield
        finally:
            self.pop(sock, None)

    def end_idle(self) -> None:
        """End idle connections. What has arrived can still be read."""
        for sock in [sock for sock, is_idle in self.items() if is_idle]:
            shut_down(sock, socket.SHUT_RD)

    def end_first(self) -> Any:
        """End the connection that has waited for longest. Returns its socket; None if no connection waits."""
        for sock in self:
            del self[sock]
            shut_down(sock)
            return sock
        return None


def shut_down(sock: Any, how: int = socket.SHUT_RDWR) -> None:
    """Shut down a connection, which may have ended already. Whoever reads or writes it learns that."""
    try:
        sock.shutdown(how)
    except OSError:
        pass
