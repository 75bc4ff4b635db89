"""What asking a service costs (the filter `http`), and what others notice while it hangs.

    python bench/asking.py [--seconds 3] [--hanging 100]

The service is a process that answers each request at once with 204 and keeps connections. The first table has clients
that send a message, wait for it to come back, and send the next. The second one has the echoes of other clients, while
clients of the same server wait for a service that does not answer. Prints Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from process import free_port

CONF = """
[server]
listen = "127.0.0.1:{port}"
[limits]
clients_per_address = 100000
connections_per_address = "100000/s"
messages = "1000000/s"
[endpoints."/echo"]
message = ["echo"]
[endpoints."/ask"]
message = ["http http://127.0.0.1:{service}/", "echo"]
[endpoints."/signed"]
message = ["http http://127.0.0.1:{service}/ secret={secret}", "echo"]
[endpoints."/hang"]
message = ["http http://127.0.0.1:{silent}/ timeout=1h", "echo"]
"""
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
REQUEST = (
    "GET {} HTTP/1.1\r\nHost: l\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
TEXT = b'{"type":"say","text":"hello, world"}'
FRAME = bytes((0x81, 0x80 | len(TEXT))) + bytes(4) + TEXT


def serve(listening: socket.socket) -> None:
    """The service: one thread that reads whole requests and answers each with 204."""
    poll = select.epoll()
    poll.register(listening, select.EPOLLIN)
    peers: dict[int, socket.socket] = {}
    while True:
        for fd, _ in poll.poll():
            if fd == listening.fileno():
                peer, _ = listening.accept()
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                peers[peer.fileno()] = peer
                poll.register(peer, select.EPOLLIN)
                continue
            data = peers[fd].recv(65536)
            # The head and the body come in one piece or in two.
            while data and not data.endswith(b"}"):
                data += peers[fd].recv(65536)
            if data:
                peers[fd].sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            else:
                poll.unregister(fd)
                peers.pop(fd).close()


def connected(port: int, path: str) -> socket.socket:
    peer = socket.create_connection(("127.0.0.1", port))
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.sendall(REQUEST.format(path).encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += peer.recv(1)
    if b" 101 " not in head:
        raise SystemExit(head.decode())
    return peer


def cpu(pid: int) -> float:
    """Processor seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ping_pong(port: int, path: str, clients: int, seconds: float) -> list[float]:
    """Each client has one message under way. Returns the round trips in seconds."""
    poll = select.epoll()
    peers = {peer.fileno(): peer for peer in (connected(port, path) for _ in range(clients))}
    sent, trips = {}, []
    for fd, peer in peers.items():
        poll.register(fd, select.EPOLLIN)
        sent[fd] = time.perf_counter()
        peer.sendall(FRAME)
    end = time.perf_counter() + seconds
    while (now := time.perf_counter()) < end:
        for fd, _ in poll.poll(0.1):
            data = peers[fd].recv(4096)
            if len(data) != len(TEXT) + 2:
                raise SystemExit(f"{path}: {data!r}")
            now = time.perf_counter()
            trips.append(now - sent[fd])
            sent[fd] = now
            peers[fd].sendall(FRAME)
    for peer in peers.values():
        peer.close()
    return sorted(trips)


@contextlib.contextmanager
def server() -> Iterator[tuple[int, int, socket.socket]]:
    """Run fws and the service. Yields the port and the pid of fws, and the listening socket of a silent service."""
    with (
        tempfile.TemporaryDirectory() as name,
        socket.create_server(("127.0.0.1", 0), backlog=1000) as listening,
        socket.create_server(("127.0.0.1", 0), backlog=1000) as silent,
    ):
        service = multiprocessing.get_context("fork").Process(target=serve, args=(listening,), daemon=True)
        service.start()
        port = free_port()
        conf = Path(name) / "app.toml"
        ports = {"service": listening.getsockname()[1], "silent": silent.getsockname()[1]}
        conf.write_text(CONF.format(port=port, secret=SECRET, **ports))
        command = [sys.executable, "-m", "fws", "run", str(conf)]
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            assert running.stdout is not None
            next(line for line in running.stdout if "control" in line)
            threading.Thread(target=running.stdout.read, daemon=True).start()
            yield port, running.pid, silent
        finally:
            running.kill()
            running.wait()
            service.kill()


def row(*values: object) -> None:
    print("|", " | ".join(str(value) for value in values), "|")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--hanging", type=int, default=100)
    options = parser.parse_args()
    with server() as (port, pid, silent):
        row("pipeline", "clients", "messages/s", "p50 µs", "p99 µs", "CPU of fws, µs each")
        row(*["---"] * 6)
        for clients in (1, 50):
            for path, pipeline in (("/echo", "echo"), ("/ask", "http, echo"), ("/signed", "http with secret, echo")):
                ping_pong(port, path, clients, 0.3)
                before, began = cpu(pid), time.perf_counter()
                trips = ping_pong(port, path, clients, options.seconds)
                used, took = cpu(pid) - before, time.perf_counter() - began
                spread = [f"{trips[int(len(trips) * part)] * 1e6:.0f}" for part in (0.5, 0.99)]
                row(pipeline, clients, f"{len(trips) / took:.0f}", *spread, f"{used / len(trips) * 1e6:.0f}")
        print()
        row("waiting for a service that hangs", "echoes/s", "p50 µs", "p99 µs", "longest µs")
        row(*["---"] * 5)
        waiting: list[socket.socket] = []
        for hanging in (0, options.hanging):
            while len(waiting) < hanging:
                waiting.append(connected(port, "/hang"))
                waiting[-1].sendall(FRAME)
            asked = [silent.accept() for _ in waiting]  # kept, so that they stay open
            trips = ping_pong(port, "/echo", 1, options.seconds)
            shown = [f"{trips[min(int(len(trips) * part), len(trips) - 1)] * 1e6:.0f}" for part in (0.5, 0.99, 1)]
            row(f"{len(asked)} clients", f"{len(trips) / options.seconds:.0f}", *shown)


if __name__ == "__main__":
    main()
