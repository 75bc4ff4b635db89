"""Services for tests: what each connection does is a function of the test."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec


class Asked(NamedTuple):
    """One request that a service got. Names of headers are in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Service:
    """A service in a thread, which answers each request with what `answer` returns, and keeps connections open.

    Attributes:
        answer: makes the bytes of the response; None closes the connection without one.
        asked: the requests.
        connections: how many there have been.
        closed: is set when a client has closed a connection.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.answer: Callable[[Asked], bytes | None] = lambda asked: response(b"{}")
        self.asked: list[Asked] = []
        self.connections = 0
        self.closed = threading.Event()
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=100)
        self._peers: list[socket.socket] = []
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._accept)

    @contextlib.contextmanager
    def running(self) -> Iterator[Service]:
        self._thread.start()
        try:
            yield self
        finally:
            self._listening.shutdown(socket.SHUT_RDWR)
            self._thread.join()
            self._listening.close()
            self.hang_up()

    @property
    def url(self) -> str:
        return f"http{'s' if self._context else ''}://localhost:{self.port}/ask?a=1"

    def hang_up(self) -> None:
        """Close all connections, as a service does that restarts."""
        for peer in self._peers:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        threads = []
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listening.accept()
                self._peers.append(peer)
                self.connections += 1
                threads.append(threading.Thread(target=self._serve, args=(peer,)))
                threads[-1].start()
        self.hang_up()
        for thread in threads:
            thread.join()

    def _serve(self, peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            if self._context is not None:
                peer = self._context.wrap_socket(peer, server_side=True)
            with peer, peer.makefile("rb") as file:
                while asked := _read(file):
                    self.asked.append(asked)
                    answer = self.answer(asked)
                    if answer is None:
                        return
                    peer.sendall(answer)
                self.closed.set()


def response(body: bytes = b"", status: str = "200 OK", *headers: str) -> bytes:
    """An HTTP response."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def _read(file: Any) -> Asked | None:
    lines = []
    while (line := file.readline()) not in (b"\r\n", b""):
        lines.append(line.decode("latin-1").strip())
    if not lines:
        return None
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return Asked(lines[0], headers, file.read(int(headers.get("content-length", 0))))
