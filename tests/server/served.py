"""A listener inside this process, and raw requests to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gevent
from gevent import socket

from fws.compiler.compile import load_generation
from fws.pipeline.services import Services
from fws.server.front import Application
from fws.server.listener import Listener
from fws.server.node import Node
from fws.server.web import Web


class Served:
    """A node that listens on a free port.

    Attributes:
        node: its parts.
        listener: the listener.
        port: where it listens.
    """

    def __init__(self, toml: str, folder: Path, *, capacity: int = 100, application: Application | None = None) -> None:
        file = folder / "test.toml"
        file.write_text(toml)
        generation = load_generation(file, Services(), {})
        self.node = Node(generation)
        self.node.start()
        static = generation.config.server.static
        web = Web(
            static=folder / static if static else None,
            health=lambda: {"status": "ok"},
            is_endpoint=generation.is_endpoint,
        )
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        sock.listen(16)
        self.port = sock.getsockname()[1]
        self.listener = Listener(sock, application or web, self.node, capacity)
        self.listener.start()

    def connect(self) -> Any:
        """A connection to the listener."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def ask(self, data: bytes) -> bytes:
        """Send bytes, and return everything until the server ends the connection."""
        with self.connect() as sock:
            sock.sendall(data)
            return everything(sock)

    def stop(self) -> None:
        self.listener.close()
        for client in self.node.hub.everybody():
            client.kill()
        gevent.sleep(0)


def everything(sock: Any) -> bytes:
    """All bytes until the peer ends the connection."""
    received = b""
    try:
        while data := sock.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    return received


def get(path: str, *lines: str, method: str = "GET") -> bytes:
    """A plain request."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: a", *lines, "", ""]).encode()


def upgrade(path: str, *lines: str) -> bytes:
    """An upgrade request."""
    return get(
        path,
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *lines,
    )
