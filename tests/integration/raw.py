"""A WebSocket client that sends raw bytes, for tests of what well-behaved clients do not do."""

from __future__ import annotations

import base64
import os
import socket
import struct
from typing import Any

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes | None = b"\1\2\3\4"
) -> bytes:
    """A client frame."""
    head = bytes([fin << 7 | rsv << 4 | opcode])
    flag = 0x80 if mask is not None else 0
    if len(payload) < 126:
        head += bytes([flag | len(payload)])
    elif len(payload) < 65536:
        head += bytes([flag | 126]) + struct.pack("!H", len(payload))
    else:
        head += bytes([flag | 127]) + struct.pack("!Q", len(payload))
    if mask is None:
        return head + payload
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(len(payload), "big")
    return head + mask + masked


def request(path: str = "/", *lines: str, host: str = "localhost") -> bytes:
    """An upgrade request with further header lines."""
    key = base64.b64encode(os.urandom(16)).decode()
    head = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        *lines,
    ]
    return "\r\n".join([*head, "", ""]).encode()


class Raw:
    """A connection after the handshake. It reads frames and sends nothing by itself."""

    def __init__(self, sock: socket.socket, path: str = "/", *lines: str) -> None:
        self.sock = sock
        self.buffer = b""
        sock.sendall(request(path, *lines))
        while b"\r\n\r\n" not in self.buffer:
            data = sock.recv(65536)
            assert data, f"no 101: {self.buffer!r}"
            self.buffer += data
        self.head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        assert self.head.startswith(b"HTTP/1.1 101 "), self.head

    def send(self, opcode: int, payload: bytes = b"", **options: Any) -> None:
        self.sock.sendall(frame(opcode, payload, **options))

    def _need(self, count: int) -> bytes:
        while len(self.buffer) < count:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError
            self.buffer += data
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def receive(self) -> tuple[int, bytes]:
        """The next frame: opcode and payload. EOFError at the end of the stream."""
        first, second = self._need(2)
        assert first & 0x80, "the server does not fragment"
        assert not second & 0x80, "a server's frame is not masked"
        length = second & 0x7F
        if length == 126:
            length = struct.unpack("!H", self._need(2))[0]
        elif length == 127:
            length = struct.unpack("!Q", self._need(8))[0]
        return first & 0x0F, self._need(length)

    def close_code(self) -> tuple[int, str]:
        """Skip to the Close frame: its code and reason (1005 for none)."""
        while True:
            opcode, payload = self.receive()
            if opcode == CLOSE:
                return (struct.unpack("!H", payload[:2])[0], payload[2:].decode()) if payload else (1005, "")

    def at_end(self) -> bool:
        """Whether the server ends TCP within the socket's time-out."""
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionResetError:
            pass
        return True
