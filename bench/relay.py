"""Measure the way from a client of one node through Redis to a client of another: rate, latency and processor time.

    python bench/relay.py [--seconds 3] [--quick]

Starts its own Redis and up to eight nodes. The publisher and the receivers are processes too. All of them share the
processors of the machine, so on a machine with two of them the rates are only an order of magnitude. For planning, use
the processor time of each part for one message. Prints Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from process import free_port

HERE = Path(__file__).parent
SIZE = 128  # bytes of a message
IN_FLIGHT = 512  # messages that the slowest receiver may be behind
HEADER = 4  # bytes of the frame header that a server sends for this size (RFC 6455 section 5.2)
STEADY = 1000  # messages a second, for the measurement of latency

CONF = """
[redis]
url = "redis://127.0.0.1:{redis}"
[endpoints."/many/{{count}}"]
connect = ["relay.join_many {{count}}"]
[endpoints."/publish"]
message = ["relay.to_named"]
"""


def wait_for(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


def cpu(pid: int) -> float:
    """Seconds of processor time that all threads of a process have used."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


@contextlib.contextmanager
def started(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def cluster(nodes: int) -> Iterator[tuple[list[int], list[int], int]]:
    """Start this many nodes on one Redis. Gives their ports, their pids, and the pid of Redis."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        redis = free_port()
        server = stack.enter_context(
            started("redis-server", "--port", str(redis), "--bind", "127.0.0.1", "--save", "", "--dir", folder)
        )
        wait_for(redis)
        conf = Path(folder) / "relay.toml"
        conf.write_text(CONF.format(redis=redis))
        shutil.copytree(HERE / "pipelines", Path(folder) / "pipelines")
        ports, pids = [], []
        for _ in range(nodes):
            port = free_port()
            run = ("-m", "fws", "run", str(conf), "--log-level", "error", "--listen", f"127.0.0.1:{port}")
            pids.append(stack.enter_context(started(sys.executable, *run)).pid)
            wait_for(port)
            ports.append(port)
        yield ports, pids, server.pid


def opened(port: int, path: str) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), 10)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.sendall(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.recv(1)
    if b" 101 " not in head:
        raise SystemExit(head.decode())
    return client


def message(channel: int) -> bytes:
    """One masked frame (with a mask of zeros) that contains the channel, the time, and filler."""
    payload = f"c{channel} {time.perf_counter_ns()} ".encode().ljust(SIZE, b"x")
    return bytes((0x81, 0xFE)) + SIZE.to_bytes(2) + bytes(4) + payload


def receive(port: int, path: str, seen: Any, ready: Any, result: Any) -> None:
    """Receive messages until the connection ends: count them in `seen`, put a sample of latencies into `result`."""
    client = opened(port, path)
    client.setblocking(False)
    ready.release()
    latencies: list[int] = []
    frame = HEADER + SIZE
    rest = b""
    while True:
        if not select.select([client], [], [], 5)[0]:
            break
        try:
            data = rest + client.recv(1 << 18)
        except OSError:
            break
        if data == rest:
            break
        now = time.perf_counter_ns()
        whole = len(data) // frame
        rest = data[whole * frame :]
        last = data[(whole - 1) * frame + HEADER : whole * frame] if whole else b""
        seen.value += whole
        if whole:
            latencies.append(now - int(last.split(b" ", 2)[1]))
    result.put(latencies)


def measure(nodes: int, channels: int, seconds: float, rate: int | None = None) -> dict[str, float]:
    """Publish on the first node, with a receiver on each other node, or on the first if it is the only one.

    Args:
        rate: messages a second; None for as many as the receivers can keep up with.
    """
    with cluster(nodes) as (ports, pids, redis):
        others = ports[1:] or ports
        seen = [multiprocessing.Value("q", 0, lock=False) for _ in others]
        ready = multiprocessing.Semaphore(0)
        result: multiprocessing.queues.Queue[list[int]] = multiprocessing.Queue()
        path = f"/many/{channels}"
        receivers = [
            multiprocessing.Process(target=receive, args=(port, path, count, ready, result), daemon=True)
            for port, count in zip(others, seen, strict=True)
        ]
        for process in receivers:
            process.start()
        for _ in receivers:
            ready.acquire()
        time.sleep(1.0 + channels / 5000)  # until Redis has every subscription
        publisher = opened(ports[0], "/publish")
        sent, before = 0, [cpu(pid) for pid in (*pids, redis)]
        start = time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            behind = sent - min(count.value for count in seen)
            room = IN_FLIGHT - behind if rate is None else int(elapsed * rate) - sent
            if room <= 0:
                time.sleep(0.0002)
                continue
            burst = min(room, 64)
            publisher.sendall(b"".join(message((sent + number) % channels) for number in range(burst)))
            sent += burst
        until = time.perf_counter() + 5
        while min(count.value for count in seen) < sent and time.perf_counter() < until:
            time.sleep(0.01)
        spent = time.perf_counter() - start
        after = [cpu(pid) for pid in (*pids, redis)]
        publisher.close()
        for pid in pids:
            os.kill(pid, 15)  # the connections of the receivers end
        latencies = sorted(value for _ in receivers for value in result.get(timeout=10))
        used = [(b - a) / max(sent, 1) * 1e6 for a, b in zip(before, after, strict=True)]
        return {
            "rate": sent / spent,
            "lost": sent - min(count.value for count in seen),
            "p50": latencies[len(latencies) // 2] / 1e6,
            "p99": latencies[len(latencies) * 99 // 100] / 1e6,
            "publisher": used[0],
            "relay": statistics.median(used[1:-1] or used[:1]),
            "redis": used[-1],
        }


HEAD = "| | messages/s | lost | ms p50 | ms p99 | µs publisher's node | µs receiver's node | µs Redis |"


def row(title: str, figures: dict[str, float]) -> None:
    print(
        f"| {title} | {figures['rate']:,.0f} | {figures['lost']} | {figures['p50']:.2f} | {figures['p99']:.2f} "
        f"| {figures['publisher']:.1f} | {figures['relay']:.1f} | {figures['redis']:.1f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=3, help="duration of each measurement")
    parser.add_argument("--quick", action="store_true", help="measure only the first two rows")
    options = parser.parse_args()
    print(f"{HEAD}\n| --- |{' ---: |' * 7}")
    row(f"2 nodes, 1 channel, {STEADY:,} a second", measure(2, 1, options.seconds, STEADY))
    row("2 nodes, 1 channel, as many as arrive", measure(2, 1, options.seconds))
    if options.quick:
        return
    for channels in (100, 1000, 10_000):
        row(f"2 nodes, {channels:,} channels", measure(2, channels, options.seconds))
    for nodes in (1, 4, 8):
        row(f"{nodes} node{'s' if nodes > 1 else ''}, 1 channel", measure(nodes, 1, options.seconds))


if __name__ == "__main__":
    main()
