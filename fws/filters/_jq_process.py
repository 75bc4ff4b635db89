"""The process in which a program of jq runs. It is started as a script, knows nothing of fws, and inherits nothing.

Each packet on its standard input and output is its length in four bytes, and the data. The first three are the program,
the number of results that are wanted and the most bytes of an answer, and an empty packet answers them. Each further
one is a message as JSON, and is answered with `{"results": […]}` or `{"error": "…"}`.
"""

from __future__ import annotations

import resource
import sys
from itertools import islice
from typing import Any

import jq
import msgspec

# Bytes of memory. A program that needs more ends the process.
MEMORY = 512 * 1024 * 1024


def read() -> bytes:
    """The next packet. Raises EOFError if there is none."""
    head = sys.stdin.buffer.read(4)
    size = int.from_bytes(head)
    data = sys.stdin.buffer.read(size)
    if len(head) < 4 or len(data) < size:
        raise EOFError
    return data


def write(data: bytes) -> None:
    sys.stdout.buffer.write(len(data).to_bytes(4) + data)
    sys.stdout.buffer.flush()


def answer(program: Any, text: str, most: int) -> dict[str, Any]:
    """The first results of the program for one message."""
    try:
        return {"results": list(islice(program.input_text(text), most))}
    except (ValueError, RecursionError) as error:
        return {"error": str(error) or "error"}


def serve() -> None:
    program = jq.compile(read().decode())
    most, size = int(read()), int(read())
    write(b"")
    while True:
        found = answer(program, read().decode(), most)
        try:
            data = msgspec.json.encode(found)
        except (ValueError, RecursionError):
            data = b'{"error":"the result is nested too deep"}'
        write(data if len(data) <= size else b'{"error":"the result is too large"}')


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        serve()
    except (EOFError, OSError):
        pass
