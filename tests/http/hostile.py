"""A program with services that misbehave: `python -m tests.http.hostile` prints its port; the path says what it does.

It is a process of its own, because a flood from a thread of the test's process would wait for the test.
"""

from __future__ import annotations

import contextlib
import gzip
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
PIECE = bytes(64 * 1024)
BOMB = gzip.compress(bytes(10_000_000))


def drip(peer: socket.socket, data: bytes) -> None:
    for byte in data:
        peer.sendall(bytes([byte]))
        time.sleep(0.03)


def flood(peer: socket.socket, piece: bytes) -> None:
    for _ in range(10 * 2**30 // len(piece)):
        peer.sendall(piece)


def sending(*pieces: bytes) -> Callable[[socket.socket], None]:
    return lambda peer: peer.sendall(b"".join(pieces))


def flooding(head: bytes, piece: bytes) -> Callable[[socket.socket], None]:
    def serve(peer: socket.socket) -> None:
        peer.sendall(head)
        flood(peer, piece)

    return serve


def dripping(head: bytes, piece: bytes) -> Callable[[socket.socket], None]:
    def serve(peer: socket.socket) -> None:
        peer.sendall(head)
        drip(peer, piece * 1000)

    return serve


def hang(peer: socket.socket) -> None:
    time.sleep(30)


def hang_after(data: bytes) -> Callable[[socket.socket], None]:
    def serve(peer: socket.socket) -> None:
        peer.sendall(data)
        time.sleep(30)

    return serve


LATE: dict[str, Callable[[socket.socket], None]] = {
    "hang": hang,
    "hang-in-the-head": hang_after(HEAD),
    "hang-in-the-body": hang_after(HEAD + b"Content-Length: 9\r\n\r\n{}"),
    "hang-before-the-last-chunk": hang_after(CHUNKED + b"2\r\n{}\r\n"),
    "drip-the-status": dripping(b"HTTP/1.1 ", b"2"),
    "drip-the-head": dripping(HEAD, b"X: y\r\n"),
    "drip-the-body": dripping(HEAD + b"Content-Length: 9000\r\n\r\n", b" "),
    "drip-chunks": dripping(CHUNKED, b"1\r\n \r\n"),
    "drip-trailers": dripping(CHUNKED + b"0\r\n", b"X: y\r\n"),
}
TOO_LONG: dict[str, Callable[[socket.socket], None]] = {
    "10-gib": flooding(CHUNKED, b"10000\r\n" + PIECE + b"\r\n"),
    "10-gib-that-are-announced": flooding(HEAD + b"Content-Length: 10737418240\r\n\r\n", PIECE),
    "10-gib-to-the-end": flooding(HEAD + b"\r\n", PIECE),
    "10-gib-of-tiny-chunks": flooding(CHUNKED, b"1\r\n \r\n" * 10_000),
    "10-gib-of-extensions": flooding(CHUNKED, b"1;" + bytes(60_000) + b"\r\n \r\n"),
    "10-gib-of-trailers": flooding(CHUNKED + b"0\r\n", b"X: y\r\n" * 10_000),
    "10-gib-of-interim-responses": flooding(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 3_000),
    "10-gib-of-headers": flooding(HEAD, b"X: y\r\n" * 10_000),
    "10-gib-in-one-header": flooding(HEAD + b"X: ", b"y" * 60_000),
    "10-gib-in-the-status": flooding(b"HTTP/1.1 200 ", b"y" * 60_000),
}
INVALID: dict[str, Callable[[socket.socket], None]] = {
    "nothing": sending(),
    "garbage": sending(b"garbage\r\n\r\n"),
    "binary": sending(bytes(range(256)) * 10),
    "half-a-head": sending(b"HTTP/1.1 200 OK\r\nContent-"),
    "half-a-body": sending(HEAD, b"Content-Length: 9\r\n\r\n{}"),
    "half-a-chunk": sending(CHUNKED, b"9\r\n{}"),
    "no-last-chunk": sending(CHUNKED, b"2\r\n{}\r\n"),
    "no-number-of-a-chunk": sending(CHUNKED, b"zz\r\n{}\r\n"),
    "a-bomb": sending(HEAD, b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB), BOMB),
    "early-hints": sending(b"HTTP/1.1 103 Early Hints\r\n\r\n", HEAD, b"Content-Length: 2\r\n\r\n{}"),
    "switching": sending(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"),
}
BEHAVIOURS = {**LATE, **TOO_LONG, **INVALID}


def serve(peer: socket.socket) -> None:
    with peer, contextlib.suppress(OSError):
        request = b""
        while b"\r\n\r\n" not in request:
            request += (received := peer.recv(4096))
            if not received:
                return
        BEHAVIOURS[request.split()[1].decode().strip("/")](peer)
        with contextlib.suppress(OSError):
            peer.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def hostile() -> Iterator[int]:
    """Run the program. Yields its port."""
    with subprocess.Popen([sys.executable, "-m", __name__], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
        print(listening.getsockname()[1], flush=True)
        while True:
            threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()
