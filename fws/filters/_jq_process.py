"""The process in which a program of jq runs. It is started as a script, knows nothing of fws, and inherits nothing.

Each packet on the socket is its length in four bytes, and the data. The first two are the program and the number of
results that are wanted, and an empty packet answers them. Each further one is a message as JSON, and is answered with
`{"results": […]}` or `{"error": "…"}`.
"""

from __future__ import annotations

import resource
import socket
from itertools import islice
from typing import Any

import jq
import msgspec

# Bytes of memory. A program that needs more ends the process.
MEMORY = 512 * 1024 * 1024


def read(channel: socket.socket, size: int) -> bytes:
    """That many bytes. Raises EOFError if the other side is gone."""
    data = bytearray()
    while len(data) < size:
        piece = channel.recv(min(size - len(data), 1 << 20))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


def read_packet(channel: socket.socket) -> bytes:
    return read(channel, int.from_bytes(read(channel, 4)))


def write_packet(channel: socket.socket, data: bytes) -> None:
    channel.sendall(len(data).to_bytes(4) + data)


def answer(program: Any, text: str, most: int) -> dict[str, Any]:
    """The first results of the program for one message."""
    try:
        return {"results": list(islice(program.input_text(text), most))}
    except (ValueError, RecursionError) as error:
        return {"error": str(error) or "error"}


def serve(channel: socket.socket) -> None:
    program = jq.compile(read_packet(channel).decode())
    most = int(read_packet(channel))
    write_packet(channel, b"")
    while True:
        found = answer(program, read_packet(channel).decode(), most)
        try:
            data = msgspec.json.encode(found)
        except (ValueError, RecursionError):
            data = b'{"error":"the result is nested too deep"}'
        write_packet(channel, data)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    channel = socket.socket(fileno=0)
    channel.setblocking(True)  # gevent has made it, and its sockets do not block
    try:
        serve(channel)
    except (EOFError, OSError):
        pass
