"""Reload a server under load, and count what its clients notice.

    python bench/reload.py [--clients 5000] [--rate 2000] [--reloads 20] [--memory 200]

Each client sends numbered messages and must get them back in order. Edits of the file alternate between two pipelines.
The longest round trip bounds the longest pause. The same load without reloads runs first, for comparison. Then the
server is reloaded many times without load, to see whether its memory grows. Prints Markdown.
"""

from __future__ import annotations

import argparse
import resource
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from fws.live.control import ask
from process import free_port

PIPELINES = (
    '["stamp mark=a", "rate_limit 1000/s burst=1000", "echo"]',
    '["stamp mark=b", "max_message 4KiB", "rate_limit 2000/s burst=2000", "echo"]',
)
CONF = """
[server]
listen = "127.0.0.1:{port}"
[limits]
clients_per_address = 100000
connections_per_address = "100000/s"
[pipelines]
connect = ["join all"]
message = {message}
[[test]]
name = "a message comes back"
script = '''
ann> connect /
ann> 1
ann< 1…
'''
"""
FILTER = """
from fws import Filter
class Stamp(Filter):
    waits = False
    mark: str = ""
    def message(self, client, message):
        return f"{message} {self.mark}"  # edit %d
"""
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: l\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Site:
    """The project of the server under test."""

    def __init__(self, folder: Path, port: int) -> None:
        self.conf = folder / "app.toml"
        self.filter = folder / "pipelines" / "stamp.py"
        self.filter.parent.mkdir()
        self.port = port
        self.edits = 0
        self.edit()

    def edit(self) -> None:
        """Another pipeline, and another version of its filter."""
        self.filter.write_text(FILTER % self.edits)
        self.conf.write_text(CONF.format(port=self.port, message=PIPELINES[self.edits % 2]))
        self.edits += 1


class Load:
    """Clients that send numbers and expect them back in order.

    Attributes:
        sent, received, closed, disordered: counts.
        longest: the longest round trip in seconds.
    """

    def __init__(self, port: int, clients: int) -> None:
        self.sent = self.received = self.closed = self.disordered = 0
        self.longest = 0.0
        self.trips: list[float] = []
        self._sockets = []
        self._by_fd = {}
        self._poll = select.epoll()
        for number in range(clients):
            # Several source addresses, because one has too few ports for many clients.
            sock = socket.create_connection(("127.0.0.1", port), source_address=(f"127.0.0.{2 + number % 100}", 0))
            sock.sendall(REQUEST)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += sock.recv(1)
            if b" 101 " not in head:
                raise SystemExit(head.decode())
            sock.setblocking(False)
            self._sockets.append(sock)
            self._by_fd[sock.fileno()] = number
            self._poll.register(sock.fileno(), select.EPOLLIN)
        self._next = [0] * clients
        self._expected = [0] * clients
        self._when: list[dict[int, float]] = [{} for _ in range(clients)]

    def run(self, rate: float, seconds: float) -> None:
        """Send at this rate in total, one client after the other."""
        self.longest, self.trips = 0.0, []
        began = time.perf_counter()
        sent = 0
        while (now := time.perf_counter()) - began < seconds:
            while sent < (now - began) * rate:
                self._say(sent % len(self._sockets))
                sent += 1
            self._read(0.002)
        end = time.perf_counter() + 3
        while self.received < self.sent and time.perf_counter() < end:
            self._read(0.05)

    def _say(self, number: int) -> None:
        text = str(self._next[number]).encode()
        self._when[number][self._next[number]] = time.perf_counter()
        self._next[number] += 1
        self._sockets[number].send(bytes((0x81, 0x80 | len(text))) + bytes(4) + text)
        self.sent += 1

    def _read(self, timeout: float) -> None:
        for fd, _ in self._poll.poll(timeout):
            number = self._by_fd[fd]
            try:
                data = self._sockets[number].recv(65536)
            except OSError:
                data = b""
            if not data:
                self.closed += 1
                self._poll.unregister(fd)
                continue
            now = time.perf_counter()
            while data:
                length = data[1]
                if data[0] == 0x81:
                    value = int(data[2 : 2 + length].split()[0])
                    if value != self._expected[number]:
                        self.disordered += 1
                    self._expected[number] = value + 1
                    self.received += 1
                    trip = now - self._when[number].pop(value, now)
                    self.trips.append(trip)
                    self.longest = max(self.longest, trip)
                elif data[0] == 0x88:
                    self.closed += 1
                data = data[2 + length :]


def rss(pid: int) -> float:
    """Resident memory of a process in MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 1024**2


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--rate", type=float, default=2000)
    parser.add_argument("--reloads", type=int, default=20)
    parser.add_argument("--memory", type=int, default=200)
    parser.add_argument("--no-test", action="store_true", help="do not run the file's tests at each reload")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as name:
        site = Site(Path(name), free_port())
        command = [sys.executable, "-m", "fws", "run", str(site.conf)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            assert server.stdout is not None
            line = next(line for line in server.stdout if "control" in line)
            control = Path(line.split()[1])
            threading.Thread(target=server.stdout.read, daemon=True).start()
            measure(site, control, server.pid, options)
        finally:
            server.terminate()
            server.wait()


def measure(site: Site, control: Path, pid: int, options: argparse.Namespace) -> None:
    time.sleep(0.5)
    load = Load(site.port, options.clients)
    seconds = max(5.0, options.reloads / 2)
    print("| load | sent | lost | out of order | closed | p50 | p99 | longest | reloads |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for reloads in (0, options.reloads):
        before = load.sent, load.received
        done: list[str] = []

        def reload(reloads: int = reloads, done: list[str] = done) -> None:
            for _ in range(reloads):
                site.edit()
                done.append(ask(control, {"do": "reload", "test": not options.no_test}, 60.0)["status"])
                time.sleep(max(0.0, seconds / reloads - 0.35))

        thread = threading.Thread(target=reload)
        thread.start()
        load.run(options.rate, seconds)
        thread.join()
        trips = sorted(load.trips)
        sent, received = load.sent - before[0], load.received - before[1]
        print(
            f"| {options.clients} clients | {sent} | {sent - received} | {load.disordered} | {load.closed} "
            f"| {trips[len(trips) // 2] * 1e3:.2f} ms | {trips[len(trips) * 99 // 100] * 1e3:.1f} ms "
            f"| {load.longest * 1e3:.1f} ms | {done.count('done')} of {reloads} |"
        )
    before_memory = rss(pid)
    sizes = []
    for number in range(options.memory):
        site.edit()
        status = ask(control, {"do": "reload", "test": False}, 60.0)["status"]
        assert status == "done", status
        if number % max(1, options.memory // 4) == 0:
            sizes.append(f"{rss(pid):.1f}")
    time.sleep(1)
    print(f"\nMemory before {options.memory} reloads: {before_memory:.1f} MiB, on the way: {', '.join(sizes)}")
    print(f"and afterwards: {rss(pid):.1f} MiB")


if __name__ == "__main__":
    main()
