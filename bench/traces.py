"""What traces cost: echoes with and without `[traces]`, at several ratios, and what one traced echo takes.

    python bench/traces.py [--rounds 5] [--seconds 2]

The servers take turns in each round, and each is compared with the first one of the same round. Spans go to a collector
that answers at once, in a process on the load generator's processor. Prints Markdown.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from install import build_tools
from process import LOAD_PROCESSOR, Running, free_port, pinned
from servers import Server

CONF = """
[limits]
messages = "10000000/s"
bytes = "10GiB"
{traces}
[endpoints."/echo"]
message = ["echo"]
"""
SECTION = '[traces]\nratio = {}\nmost = {}\nendpoint = "http://127.0.0.1:{}"\n'
# The ratio, and the most spans per second; None for no section.
VARIANTS: tuple[tuple[str, float | None, int], ...] = (
    ("without `[traces]`", None, 0),
    ("ratio = 0", 0.0, 1000),
    ("ratio = 0.01", 0.01, 1000),
    ("ratio = 1", 1.0, 1000),
    ("ratio = 1, most = 1000000", 1.0, 1_000_000),
)
# A collector that reads whole requests and answers each.
COLLECTOR = r"""
import asyncio, sys
async def handle(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
async def main():
    async with await asyncio.start_server(handle, "127.0.0.1", int(sys.argv[1])) as server:
        await server.serve_forever()
asyncio.run(main())
"""
LOAD = ("echo", "-n", "64", "-s", "64", "-d", "1")


def measure(folder: Path, number: int, seconds: float, collector: int) -> dict[str, Any]:
    """One run of the load generator."""
    _, ratio, most = VARIANTS[number]
    conf = folder / f"{number}.toml"
    traces = "" if ratio is None else SECTION.format(ratio, most, collector)
    conf.write_text(CONF.format(traces=traces))
    command = (sys.executable, "-m", "fws", "run", str(conf), "--listen", "127.0.0.1:{port}", "--log-level", "error")
    with Running(Server(f"fws-traces-{number}", "", command)) as server:
        server.load(LOAD, "/echo", 0.5)
        return server.load(LOAD, "/echo", seconds)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    build_tools()
    port = free_port()
    collector = subprocess.Popen(pinned(LOAD_PROCESSOR, [sys.executable, "-c", COLLECTOR, str(port)]))
    rounds: list[list[dict[str, Any]]] = []
    try:
        time.sleep(0.5)
        with tempfile.TemporaryDirectory() as folder:
            for _ in range(arguments.rounds):
                order = random.sample(range(len(VARIANTS)), len(VARIANTS))
                found = {number: measure(Path(folder), number, arguments.seconds, port) for number in order}
                rounds.append([found[number] for number in range(len(VARIANTS))])
    finally:
        collector.kill()
        collector.wait()
    print("| 64 clients, 64 B | echoes/s | CPU µs each | CPU of the same round | slowest 0.1 %, ms |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for number, (name, _, _) in enumerate(VARIANTS):
        runs = [one[number] for one in rounds]
        each = [run["server_cpu"] / run["rate"] * 1e6 for run in runs]
        base = [one[0]["server_cpu"] / one[0]["rate"] * 1e6 for one in rounds]
        part = statistics.median(mine / plain for mine, plain in zip(each, base, strict=True)) - 1
        rate, late = (
            statistics.median(found)
            for found in zip(*((run["rate"], run["lat_us"]["p999"]) for run in runs), strict=True)
        )
        print(f"| {name} | {rate:,.0f} | {statistics.median(each):.2f} | {part:+.1%} | {late / 1000:.1f} |")


if __name__ == "__main__":
    main()
