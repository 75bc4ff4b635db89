"""The connections of a listener whose peers are waited for, and how they are ended before their time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gevent import socket


class Waiting(dict[Any, bool]):
    """Sockets that wait for a request, for the rest of it, or until an answer is read, the first one for longest.

    The value says whether the connection is idle: it has had an answer, and nothing of another request has come.
    """

    @contextmanager
    def on(self, sock: Any) -> Iterator[None]:
        """The peer of a connection that is not idle is waited for."""
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
