"""What the protocol `centrifuge` costs beside `raw` and beside python-socketio: fan-out, calls, memory, logins.

    python bench/protocols.py [--quick]

Figures are processor time of the server for each delivery, call or login, because the driver and the server share this
machine; each is the median of some rounds, in which the servers take turns. `raw` and `centrifuge` are endpoints of one
server. The driver speaks each protocol on plain sockets. Prints Markdown.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import hmac
import json
import os
import resource
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from process import free_port

HERE = Path(__file__).parent
BUILD = HERE.parent / "build" / "bench" / "socketio"
SECRET = "a secret of the bench, and of nobody"
CONF = f"""
[server]
listen = "127.0.0.1:{{port}}"
[limits]
clients_per_address = 100000
connections_per_address = "100000/s"
clients_per_user = 100000
ping_interval = "1h"
[channels.bench]
subscribe = "client.id != null"
[endpoints."/raw"]
connect = ["join bench"]
[endpoints."/raw/echo"]
message = ["json", "echo"]
[endpoints."/raw/login"]
connect = ["jwt HS256 '{SECRET}'"]
[endpoints."/write"]
message = ["json", "publish bench"]
[endpoints."/centrifuge"]
protocol = "centrifuge"
[endpoints."/centrifuge/echo"]
protocol = "centrifuge"
[endpoints."/centrifuge/login"]
protocol = "centrifuge"
connect = ["jwt HS256 '{SECRET}'"]
"""
# python-socketio with aiohttp, its fastest server that needs no compiler.
SOCKETIO = """
import sys, jwt, socketio
from aiohttp import web
server = socketio.AsyncServer(async_mode="aiohttp", cors_allowed_origins="*", ping_interval=3600)
app = web.Application()
server.attach(app)
@server.event
async def connect(sid, environ, auth):
    if auth:
        jwt.decode(auth["token"], sys.argv[2], algorithms=["HS256"])
    else:
        await server.enter_room(sid, "bench")
@server.event
async def write(sid, data):
    await server.emit("news", data, room="bench", skip_sid=sid)
@server.event
async def echo(sid, data):
    return data
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""
MEMBERS, WINDOW, CALLERS, SIZE = 1000, 16, 64, 128


class Server:
    """A server process."""

    def __init__(self, command: list[str], port: int) -> None:
        self.port = port
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                return
            if time.monotonic() > until or self._process.poll() is not None:
                raise SystemExit(f"{command[0]} did not start")
            time.sleep(0.05)

    def cpu(self) -> float:
        """Processor seconds so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * resource.getpagesize()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)


@contextlib.contextmanager
def fws() -> Iterator[Server]:
    port = free_port()
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as conf:
        conf.write(CONF.format(port=port))
        conf.flush()
        server = Server([sys.executable, "-m", "fws", "run", conf.name], port)
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def socketio() -> Iterator[Server]:
    python = BUILD / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(BUILD)], check=True)
        packages = ["python-socketio", "aiohttp", "pyjwt"]
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
    port = free_port()
    server = Server([str(python), "-c", SOCKETIO, str(port), SECRET], port)
    try:
        yield server
    finally:
        server.stop()


class Peer:
    """How the driver speaks to one server in one protocol."""

    name = "raw"

    def path(self, what: str) -> str:
        return f"/raw/{what}" if what else "/raw"

    def headers(self, token: str) -> str:
        return f"Authorization: Bearer {token}\r\n" if token else ""

    def opening(self, what: str, token: str) -> list[tuple[str, bytes]]:
        """What is sent after the handshake, each with what is waited for."""
        return []

    def write(self, data: str) -> str:
        """A message for all members, by a client of its own."""
        return data

    write_path = "/write"

    def call(self, number: int, data: str) -> str:
        return data


class Centrifuge(Peer):
    name = "centrifuge"

    def path(self, what: str) -> str:
        return f"/centrifuge/{what}" if what else "/centrifuge"

    def headers(self, token: str) -> str:
        return ""

    def opening(self, what: str, token: str) -> list[tuple[str, bytes]]:
        connect: dict[str, object] = {"id": 1, "connect": {"token": token} if token else {}}
        first = (json.dumps(connect), b'"id":1')
        if what:
            return [first]
        return [first, (json.dumps({"id": 2, "subscribe": {"channel": "bench"}}), b'"id":2')]

    def call(self, number: int, data: str) -> str:
        return f'{{"id":{number},"rpc":{{"data":{data}}}}}'


class SocketIo(Peer):
    name = "python-socketio"
    write_path = "/socket.io/?EIO=4&transport=websocket"

    def path(self, what: str) -> str:
        return self.write_path

    def headers(self, token: str) -> str:
        return ""

    def opening(self, what: str, token: str) -> list[tuple[str, bytes]]:
        auth = json.dumps({"token": token}) if token else ""
        return [("", b"0{"), (f"40{auth}", b"40{")]

    def write(self, data: str) -> str:
        return f'42["write",{data}]'

    def call(self, number: int, data: str) -> str:
        return f'42{number}["echo",{data}]'


class Connection:
    """A client of the driver."""

    def __init__(self, port: int, path: str, headers: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = 0
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: l\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{headers}"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self.buffer = b""
        self.wait(b"\r\n\r\n")

    def send(self, text: str) -> None:
        self.socket.sendall(framed(text))

    def wait(self, mark: bytes) -> None:
        while mark not in self.buffer:
            data = self.socket.recv(65536)
            if not data:
                raise SystemExit(f"the server closed the connection: {self.buffer[-200:]!r}")
            self.buffer += data
        self.buffer = self.buffer.partition(mark)[2]

    def close(self) -> None:
        self.socket.close()


def framed(text: str) -> bytes:
    """A text frame with a mask of zeros."""
    payload = text.encode()
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return b"\x81" + length + bytes(4) + payload


def opened(server: Server, peer: Peer, what: str = "", token: str = "") -> Connection:
    connection = Connection(server.port, peer.path(what), peer.headers(token))
    for text, answer in peer.opening(what, token):
        if text:
            connection.send(text)
        connection.wait(answer)
    connection.buffer = b""
    return connection


def jwt() -> str:
    def part(value: object) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    signed = part({"alg": "HS256", "typ": "JWT"}) + b"." + part({"sub": "ann", "exp": int(time.time()) + 3600})
    signature = hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


DATA = json.dumps({"text": "x" * (SIZE - 12)})


class Fanout:
    """Members of one channel, and a publisher with some messages on their way."""

    def __init__(self, server: Server, peer: Peer) -> None:
        self.server, self.peer = server, peer
        self.members = [opened(server, peer) for _ in range(MEMBERS)]
        self.writer = Connection(server.port, peer.write_path, "")
        if isinstance(peer, SocketIo):
            for text, answer in peer.opening("", ""):
                if text:
                    self.writer.send(text)
                self.writer.wait(answer)
        self.poll = select.epoll()
        self.by_fd = {member.socket.fileno(): member for member in self.members}
        for member in self.members:
            member.socket.setblocking(False)
            self.poll.register(member.socket, select.EPOLLIN)
        self.size = self.measure()

    def measure(self) -> int:
        """The bytes of one delivery."""
        self.writer.send(self.peer.write(DATA))
        until = time.monotonic() + 1
        while time.monotonic() < until:
            self.read(0.1)
        (size,) = {member.received for member in self.members}
        return size

    def read(self, timeout: float) -> None:
        for fd, _ in self.poll.poll(timeout):
            member = self.by_fd[fd]
            member.received += len(member.socket.recv(1 << 20))

    def run(self, messages: int) -> tuple[float, float]:
        """Processor microseconds of the server for each delivery, and deliveries per second."""
        for member in self.members:
            member.received = 0
        first, sent = self.members[0], 0
        before, began = self.server.cpu(), time.perf_counter()
        frame = framed(self.peer.write(DATA))
        whole = messages * self.size
        while any(member.received < whole for member in (first, self.members[-1])):
            while sent < messages and sent - first.received // self.size < WINDOW:
                self.writer.socket.sendall(frame)
                sent += 1
            self.read(1.0)
        while any(member.received < whole for member in self.members):
            self.read(1.0)
        passed, used = time.perf_counter() - began, self.server.cpu() - before
        assert all(member.received == whole for member in self.members)
        return used * 1e6 / (messages * MEMBERS), messages * MEMBERS / passed

    def close(self) -> None:
        for connection in (*self.members, self.writer):
            connection.close()


def calls(server: Server, peer: Peer, count: int) -> float:
    """Processor microseconds of the server for a call that is answered with its data, 64 clients at a time."""
    clients = [opened(server, peer, "echo") for _ in range(CALLERS)]
    poll = select.epoll()
    by_fd = {client.socket.fileno(): client for client in clients}
    for client in clients:
        poll.register(client.socket, select.EPOLLIN)
    before = server.cpu()
    number = 10
    for client in clients:
        client.send(peer.call(number, DATA))
    answered = 0
    while answered < count:
        for fd, _ in poll.poll(1.0):
            by_fd[fd].socket.recv(65536)
            answered += 1
            number += 1
            by_fd[fd].send(peer.call(number, DATA))
    used = server.cpu() - before
    for client in clients:
        client.close()
    return used * 1e6 / answered


def logins(server: Server, peer: Peer, count: int) -> float:
    """Processor microseconds of the server for a connection with a JSON Web Token, up to the answer."""
    token = jwt()
    before = server.cpu()
    for _ in range(count):
        opened(server, peer, "login", token).close()
    return (server.cpu() - before) * 1e6 / count


def memory(server: Server, peer: Peer, count: int) -> float:
    """KiB of the server for a client that is a member of one channel and idle. The first connections do not count."""
    first = [opened(server, peer) for _ in range(200)]
    before = server.memory()
    clients = [opened(server, peer) for _ in range(count)]
    time.sleep(1)
    used = server.memory() - before
    for client in (*first, *clients):
        client.close()
    return used / count / 1024


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="smaller numbers and fewer rounds")
    quick = options.parse_args().quick
    rounds, messages, count, idle = (1, 100, 5000, 1000) if quick else (5, 300, 20000, 5000)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    raw, centrifuge, other = Peer(), Centrifuge(), SocketIo()
    found: dict[str, dict[str, list[float]]] = {}

    def note(what: str, peer: Peer, value: float) -> None:
        found.setdefault(what, {}).setdefault(peer.name, []).append(value)

    with fws() as server, socketio() as second:
        for _ in range(rounds):
            for where, peer in ((server, raw), (server, centrifuge), (second, other)):
                fanout = Fanout(where, peer)
                used, rate = fanout.run(messages)
                fanout.close()
                note("µs of the server for a delivery to one of 1,000 members", peer, used)
                note("deliveries per second, driver included", peer, rate)
                note("µs for a call that is answered", peer, calls(where, peer, count))
                note("µs for a login with a JWT", peer, logins(where, peer, count // 20))
    for peer, running in ((raw, fws), (centrifuge, fws), (other, socketio)):
        with running() as server:
            note("KiB for an idle member", peer, memory(server, peer, idle))
    names = [peer.name for peer in (raw, centrifuge, other)]
    print(f"| | {' | '.join(names)} | raw : centrifuge |\n| --- | {'---: | ' * 4}")
    for what, by_peer in found.items():
        values = {name: statistics.median(by_peer[name]) for name in names}
        ratio = values["raw"] / values["centrifuge"]
        shown = " | ".join(f"{values[name]:,.2f}" if values[name] < 1000 else f"{values[name]:,.0f}" for name in names)
        print(f"| {what} | {shown} | {ratio if 'second' not in what else 1 / ratio:.2f} |")


if __name__ == "__main__":
    main()
