"""Measure what metrics cost.

    python bench/metrics.py [--clients 10000] [--stages 100] [--seconds 20]

A scrape and the snapshot that a worker writes every second are measured with idle clients, with `redis-server` for two
workers. Counting, and the snapshot and text of many stages, are measured in this process. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

from fws.base.histogram import Histogram
from fws.base.metrics import Metrics
from fws.metrics.collect import add_stages
from fws.metrics.exposition import exposition
from fws.metrics.snapshot import Snapshot
from fws.pipeline.pipeline import StepId
from fws.pipeline.tally import StageCounts
from process import free_port
from reload import REQUEST

CONF = """
[server]
listen = "127.0.0.1:{port}"
[limits]
exempt = ["127.0.0.0/8"]
[redis]
url = "{redis}"
[pipelines]
connect = ["join all"]
message = ["echo"]
"""
TICKS = os.sysconf("SC_CLK_TCK")


def each(function: Callable[[], object], times: int = 200_000) -> float:
    """Nanoseconds of one call, the best of three rounds."""
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        for _ in range(times):
            function()
        best = min(best, time.perf_counter() - began)
    return best / times * 1e9


def cpu(pids: list[int]) -> float:
    """Processor seconds of processes."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split() for pid in pids]
    return sum(int(one[11]) + int(one[12]) for one in fields) / TICKS


def connected(port: int, clients: int) -> list[socket.socket]:
    """Idle clients."""
    sockets = []
    for number in range(clients):
        # Several source addresses, because one has too few ports for many clients.
        sock = socket.create_connection(("127.0.0.1", port), source_address=(f"127.0.0.{2 + number % 100}", 0))
        sock.sendall(REQUEST)
        sockets.append(sock)
    waiting = select.epoll()
    for sock in sockets:
        waiting.register(sock.fileno(), select.EPOLLIN)
    left = clients
    while left:
        for fd, _ in waiting.poll(30):
            waiting.unregister(fd)
            left -= 1
    return sockets


@contextmanager
def serving(folder: Path, workers: int, redis: str, admin: bool) -> Iterator[tuple[int, str, list[int]]]:
    """A server: its port, the address of /metrics, and the ids of the processes that serve."""
    port, operators = free_port(), free_port()
    conf = CONF.format(port=port, redis=redis)
    (folder / "app.toml").write_text(conf + (f'[admin]\nlisten = "127.0.0.1:{operators}"\n' if admin else ""))
    command = [sys.executable, "-m", "fws", "run", str(folder / "app.toml"), "--workers", str(workers)]
    with (folder / "log").open("w+") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            while True:
                time.sleep(0.2)
                text = (folder / "log").read_text()
                pids = [int(pid) for pid in re.findall(r"\(pid (\d+)\) serves", text)]
                if "connect " in text and len(pids) == (workers if workers > 1 else 0):
                    break
                if server.poll() is not None:
                    raise SystemExit(text)
            yield port, f"http://127.0.0.1:{operators}/metrics", pids or [server.pid]
        finally:
            server.terminate()
            server.wait()


@contextmanager
def redis_server() -> Iterator[str]:
    port = free_port()
    server = subprocess.Popen(["redis-server", "--port", str(port), "--save", ""], stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait()


def scrapes(clients: int) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port, address, pids = stack.enter_context(serving(folder, 1, "", admin=True))
        sockets = connected(port, clients)
        times = []
        before = cpu(pids)
        for _ in range(50):
            time.sleep(0.1)
            began = time.perf_counter()
            with urlopen(address) as response:
                size = len(response.read())
            times.append(time.perf_counter() - began)
        used = (cpu(pids) - before) / 50
        median, longest, used = (1e3 * one for one in (statistics.median(times), max(times), used))
        print(
            f"| scrape of {size // 1024} KiB with {clients} idle clients | median {median:.1f} ms, "
            f"longest {longest:.1f} ms, at most {used:.1f} ms of processor |"
        )
        for sock in sockets:
            sock.close()


def idle(clients: int, seconds: float) -> None:
    used = {}
    for admin in (False, True):
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            redis = stack.enter_context(redis_server())
            port, _, pids = stack.enter_context(serving(folder, 2, redis, admin))
            sockets = connected(port, clients)
            time.sleep(3)
            before = cpu(pids)
            time.sleep(seconds)
            used[admin] = (cpu(pids) - before) / seconds / 2
            for sock in sockets:
                sock.close()
    print(
        f"| processor of each of two workers with {clients} idle clients | {used[False]:.1%} without [admin], "
        f"{used[True]:.1%} with it, which writes a snapshot every second |"
    )


def inside(stages: int) -> None:
    metrics, histogram = Metrics(), Histogram()
    print(f"| `Metrics.count` | {each(lambda: metrics.count('publications')):.0f} ns |")
    print(
        f"| `Metrics.count` with two labels | {each(lambda: metrics.count('refused', label=403, reason='o')):.0f} ns |"
    )
    print(f"| `Histogram.observe` | {each(lambda: histogram.observe(0.001)):.0f} ns |")
    counts = StageCounts()
    for number in range(60):
        counts.times.observe(1e-6 * 1.3**number)
    table = {StepId("/chat", "message", (f"stage{number}",)): counts for number in range(stages)}

    def snapshot() -> Snapshot:
        made = Snapshot()
        add_stages(made, table)
        return made

    made = snapshot()
    data = made.encode()
    print(f"| snapshot of {stages} stages | {each(snapshot, 100) / 1e6:.2f} ms |")
    print(f"| its file of {len(data) // 1024} KiB: encode | {each(made.encode, 100) / 1e6:.2f} ms |")
    print(f"| decode | {each(lambda: Snapshot.decode(data), 100) / 1e6:.2f} ms |")
    print(f"| its text | {each(lambda: exposition(made, '', lambda: None), 20) / 1e6:.1f} ms |")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--stages", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print("| what | cost |\n| --- | --- |")
    inside(options.stages)
    scrapes(options.clients)
    idle(options.clients, options.seconds)


if __name__ == "__main__":
    main()
