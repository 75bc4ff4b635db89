"""Clients that lose TCP again and again: what is delivered, and how soon they have what they missed.

    python bench/jitter.py [--clients 5000] [--seconds 60] [--rate 2] [--workers 2]

Every client loses its connection each 15 s, at a moment of its own, is offline for 2 s, and then connects again;
those are the times of AnyCable's published benchmark of servers for Node.js. A publisher sends numbered messages at a
fixed rate. A message counts as delivered to a client that was started before it and not stopped after it, online or
not. The replay time is that from the begin of the new connection until the client has everything that had been
published by then.

The same clients run against a channel with history, where they resume from their position, against a channel without
history (at most once), and against a broadcast with the library `websockets` (one process, at most once). Starts its
own Redis and servers. The driver is one process. Prints Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import random
import re
import resource
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from process import free_port

CUT_EVERY = 15.0
OFFLINE = 2.0
CONF = """
[server]
listen = "127.0.0.1:{port}"
[redis]
url = "redis://127.0.0.1:{redis}"
[limits]
clients_per_address = 100000
connections_per_address = "100000/s"
ping_interval = "1h"
{channels}
[endpoints."/read"]
positions = true
connect = ["join bench since=request.query.since"]
[endpoints."/write"]
message = ["publish bench"]
"""
HISTORY = "[channels.bench]\nhistory = 1000\n"
PEER = """
import asyncio, sys
from websockets.asyncio.server import broadcast, serve
clients = set()
async def handle(client):
    if client.request.path == "/write":
        async for message in client:
            broadcast(clients, message)
        return
    clients.add(client)
    try:
        await client.wait_closed()
    finally:
        clients.discard(client)
async def main():
    async with serve(handle, "127.0.0.1", int(sys.argv[1]), compression=None, ping_interval=None):
        await asyncio.Future()
asyncio.run(main())
"""
_NUMBER = re.compile(rb'"?n([0-9]+)"?\}?$')
_POSITION = re.compile(rb'"epoch":"([^"]+)","offset":([0-9]+)')


def request(path: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: l\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


class Client:
    """One client through all its connections.

    Attributes:
        got: the numbers of the messages that it has.
        behind: how many messages had been published when it connected again; 0 once it has them all.
    """

    __slots__ = ("back", "behind", "buffer", "cut", "got", "number", "open", "position", "since", "sock", "twice")

    def __init__(self, number: int, now: float) -> None:
        self.number = number
        self.sock: socket.socket | None = None
        self.buffer = b""
        self.open = False
        self.got: set[int] = set()
        self.twice = 0
        self.position = ""
        self.behind = 0
        self.since = now
        self.back = now
        self.cut = 0.0


class Load:
    """The clients and the publisher."""

    def __init__(self, port: int, clients: int, rate: float, *, resume: bool) -> None:
        self.port, self.rate, self.resume = port, rate, resume
        self.poll = select.epoll()
        self.replays: list[float] = []
        self.cuts = self.gaps = 0
        self.published: list[float] = []
        now = time.perf_counter()
        self.clients = [Client(number, now) for number in range(clients)]
        self.by_fd: dict[int, Client] = {}
        self.writer = socket.create_connection(("127.0.0.1", port))
        self.writer.sendall(request("/write"))
        self.writer.recv(4096)

    def connect(self, client: Client, now: float) -> None:
        # Several source addresses, because one has too few ports for clients that connect again and again.
        sock = socket.socket()
        sock.setblocking(False)
        sock.bind((f"127.0.{2 + client.number % 10}.{2 + client.number % 100}", 0))
        if sock.connect_ex(("127.0.0.1", self.port)) not in (0, errno.EINPROGRESS):
            sock.close()
            client.back = now + 0.1
            return
        client.sock, client.buffer, client.open, client.since = sock, b"", False, now
        client.cut = now + CUT_EVERY
        client.behind = len(self.published)
        self.by_fd[sock.fileno()] = client
        self.poll.register(sock.fileno(), select.EPOLLOUT)

    def drop(self, client: Client, now: float) -> None:
        assert client.sock is not None
        self.poll.unregister(client.sock.fileno())
        del self.by_fd[client.sock.fileno()]
        client.sock.close()
        client.sock, client.back = None, now + OFFLINE

    def start(self) -> None:
        """Connect all clients, and spread the moments of their first cuts."""
        pending = list(self.clients)
        while pending or not all(client.open for client in self.clients):
            now = time.perf_counter()
            for client in pending[:50]:
                self.connect(client, now)
            pending = pending[50:]
            self.read(0.02)
        now = time.perf_counter()
        for client in self.clients:
            client.cut = now + random.uniform(0.0, CUT_EVERY)

    def run(self, seconds: float) -> None:
        began = time.perf_counter()
        end = began + seconds
        while (now := time.perf_counter()) < end:
            while len(self.published) < (now - began) * self.rate:
                text = b"n%d" % len(self.published)
                self.published.append(now)
                self.writer.send(bytes((0x81, 0x80 | len(text))) + bytes(4) + text)
            self.turn(now, cut=now < end - 5)
            self.read(0.005)
        until = time.perf_counter() + 5
        while time.perf_counter() < until:
            self.turn(time.perf_counter(), cut=False)
            self.read(0.02)

    def turn(self, now: float, *, cut: bool) -> None:
        for client in self.clients:
            if client.sock is None:
                if now >= client.back:
                    self.connect(client, now)
            elif cut and now >= client.cut:
                self.cuts += 1
                self.drop(client, now)

    def read(self, timeout: float) -> None:
        for fd, event in self.poll.poll(timeout):
            client = self.by_fd[fd]
            assert client.sock is not None
            if event & select.EPOLLOUT and not client.open and not client.buffer:
                since = f"?since={client.position}" if self.resume and client.position else ""
                with contextlib.suppress(OSError):
                    client.sock.send(request(f"/read{since}"))
                self.poll.modify(fd, select.EPOLLIN)
                continue
            try:
                data = client.sock.recv(262144)
            except OSError:
                data = b""
            if not data:
                self.drop(client, time.perf_counter())
                continue
            client.buffer += data
            if not client.open:
                head, found, rest = client.buffer.partition(b"\r\n\r\n")
                if not found:
                    continue
                if b" 101 " not in head:
                    raise SystemExit(head.decode())
                client.open, client.buffer = True, rest
            self.frames(client)

    def frames(self, client: Client) -> None:
        data, place = client.buffer, 0
        while len(data) - place >= 2:
            size, start = data[place + 1], place + 2
            if size == 126:
                size, start = int.from_bytes(data[place + 2 : place + 4], "big"), place + 4
            if len(data) < start + size:
                break
            self.message(client, data[start : start + size])
            place = start + size
        client.buffer = data[place:]
        if client.behind and len(client.got) >= client.behind:
            self.replays.append(time.perf_counter() - client.since)
            client.behind = 0

    def message(self, client: Client, payload: bytes) -> None:
        if (position := _POSITION.search(payload)) is not None:
            client.position = f"{position[1].decode()}:{position[2].decode()}"
            if payload.startswith(b'{"type":"gap"'):
                self.gaps += 1
        if (number := _NUMBER.search(payload)) is not None:
            value = int(number[1])
            client.twice += value in client.got
            client.got.add(value)


@contextlib.contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        time.sleep(1)
        yield
    finally:
        process.terminate()
        process.wait(30)


def measure(name: str, port: int, options: argparse.Namespace, *, resume: bool) -> None:
    load = Load(port, options.clients, options.rate, resume=resume)
    load.start()
    load.run(options.seconds)
    expected = len(load.published) * options.clients
    delivered = sum(len(client.got) for client in load.clients)
    twice = sum(client.twice for client in load.clients)
    replays = sorted(load.replays) or [0.0]
    shown = ""
    if resume:
        p50, p99 = replays[len(replays) // 2], replays[len(replays) * 99 // 100]
        shown = f"{p50 * 1e3:.0f} ms, {p99 * 1e3:.0f} ms, {replays[-1] * 1e3:.0f} ms"
    print(
        f"| {name} | {load.cuts:,} | {expected:,} | {delivered / expected:.4%} | {twice} | {load.gaps} | {shown} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=2, help="messages per second, to every client")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    redis = shutil.which("redis-server")
    if redis is None:
        raise SystemExit("redis-server is needed")
    print(f"{options.clients} clients, {options.rate:g} messages/s, {options.seconds:g} s, {options.workers} workers\n")
    print("| server | cuts | deliveries due | delivered | twice | gaps | replay p50, p99, longest |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        redis_port = free_port()
        with running([redis, "--port", str(redis_port), "--save", "", "--dir", folder], redis_port):
            for name, channels in (("fws, with history", HISTORY), ("fws, without", "")):
                port = free_port()
                conf = Path(folder) / "bench.toml"
                conf.write_text(CONF.format(port=port, redis=redis_port, channels=channels))
                command = [sys.executable, "-m", "fws", "run", str(conf), "--workers", str(options.workers)]
                with running(command, port):
                    measure(name, port, options, resume=bool(channels))
        peer = Path(folder) / "peer.py"
        peer.write_text(PEER)
        port = free_port()
        with running([sys.executable, str(peer), str(port)], port):
            measure("websockets, broadcast", port, options, resume=False)


if __name__ == "__main__":
    main()
