"""Parts of attackers: a flood that never waits, and threads that repeat something for a while."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.integration.conftest import Running
from tests.integration.raw import request

ECHO = '\n[pipelines]\nmessage = ["echo"]\n'
SECONDS = 0.3
# A filter that says nothing about waiting, so that its clients are served in greenlets.
PATIENT = """
from fws import Filter


class Patient(Filter):
    \"\"\"Does not promise that it never waits.\"\"\"

    def message(self, client, message):
        return message

    def deliver(self, client, publication):
        return publication
"""
_BUSY = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def flood(sock: socket.socket, data: bytes, seconds: float = SECONDS, *, reads: bool = True) -> tuple[int, bytes]:
    """Send `data` repeatedly, as fast as possible. Returns the number of bytes and the first MiB of the answers.

    Args:
        reads: whether to read what the server sends.
    """
    sock.setblocking(False)
    until = time.monotonic() + seconds
    at = sent = 0
    heard = bytearray()
    with contextlib.suppress(ConnectionError, ssl.SSLError, EOFError):
        while time.monotonic() < until:
            moved = False
            with contextlib.suppress(*_BUSY):
                # A TLS record is to be sent again from where it began: `at` moves by what was taken.
                taken = sock.send(memoryview(data)[at : at + 16384])
                at, sent, moved = (at + taken) % len(data), sent + taken, True
            if reads:
                with contextlib.suppress(*_BUSY):
                    got = sock.recv(65536)
                    if not got:
                        break
                    moved = True
                    if len(heard) < 1 << 20:
                        heard += got
            if not moved:
                select.select([sock] if reads else [], [sock], [], 0.05)
    return sent, bytes(heard)


def repeat(act: Callable[[], Any], seconds: float = SECONDS, hands: int = 1) -> int:
    """Repeat something in this many threads. Returns how often. An exception ends the test."""
    until = time.monotonic() + seconds
    counts: list[int] = []

    def work() -> None:
        count = 0
        while time.monotonic() < until:
            act()
            count += 1
        counts.append(count)

    with ThreadPoolExecutor(hands) as pool:
        for one in [pool.submit(work) for _ in range(hands)]:
            one.result()
    return sum(counts)


@contextlib.contextmanager
def meanwhile(act: Callable[..., object]) -> Iterator[None]:
    """Do something in a thread until the block ends, which sets its event."""
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(act, stop)
        try:
            yield
        finally:
            stop.set()
        running.result()


def answer(sock: socket.socket, data: bytes) -> bytes:
    """Everything that arrives until the server ends TCP."""
    received = b""
    with contextlib.suppress(ConnectionError, ssl.SSLEOFError):
        sock.sendall(data)
    with contextlib.suppress(ConnectionError, ssl.SSLEOFError):
        while more := sock.recv(65536):
            received += more
    return received


def connect_from(server: Running, address: str) -> socket.socket:
    """A raw socket that connects from an address of the loopback network."""
    return socket.create_connection(("127.0.0.1", server.port), 10, (address, 0))


def status(server: Running, *lines: str, path: str = "/") -> int:
    """The status of the answer to an upgrade request; 0 if the connection is closed without one."""
    with server.connect() as sock, contextlib.suppress(ConnectionError):
        sock.sendall(request(path, *lines))
        got = sock.recv(4096)
        return int(got.split()[1]) if got.startswith(b"HTTP/1.1 ") else 0
    return 0


def until(condition: Callable[[], object], seconds: float = 10) -> float:
    """Wait until a condition holds. Returns the seconds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds
        time.sleep(0.02)
    return time.monotonic() - began


def clients(server: Running) -> int:
    """The number of clients that the server reports."""
    with urllib.request.urlopen(server.page + "/healthz", context=server.tls) as page:
        return int(json.load(page)["clients"])


def descriptors(server: Running) -> int:
    """The number of open files of the server."""
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def memory(server: Running) -> int:
    """The resident memory of the server in KiB."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().split("\n")
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])
