"""fws beside a plain gevent-websocket server, in one run: echo, fan-out, memory.

    python bench/compare.py [--rounds 3] [--seconds 2]

Server and load generator are pinned to a processor each; rounds alternate, so that a slow moment of the machine
meets both. Medians and their ratio are printed; rates of a shared machine differ from run to run, ratios hardly.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
LOAD = HERE.parent / "build" / "wsload"
PORT = 19500

SERVERS = {
    "fws": [sys.executable, "-m", "fws", "run", str(HERE / "bench.toml"), "--log-level", "error", "--listen"],
    "gevent-websocket": [sys.executable, str(HERE / "peers" / "gevent_websocket.py")],
}
MEASURES = {
    "echo round trips/s, 64 clients of 64 B": ["echo", "-n", "64", "-s", "64", "-P", "/echo"],
    "deliveries/s to 1,000 clients of 128 B": ["fanout", "-n", "1000", "-s", "128", "-w", "1", "-P", "/fanout"],
}
IDLE = 5000


@contextlib.contextmanager
def serving(name: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server of its own for each round, on processor 0."""
    address = f"127.0.0.1:{port}" if name == "fws" else str(port)
    process = subprocess.Popen(["taskset", "-c", "0", *SERVERS[name], address], stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        else:
            raise SystemExit(f"{name} did not start")
        time.sleep(0.3)
        yield process
    finally:
        process.kill()
        process.wait()


def load(port: int, *arguments: str) -> dict[str, float]:
    """One run of the load generator on processor 1; its last line is JSON."""
    command = ["taskset", "-c", "1", str(LOAD), *arguments, "-p", str(port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def resident(pid: int) -> float:
    """KiB of memory in use."""
    fields = dict(line.split(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return float(fields["VmRSS"].split()[0])


def idle_memory(port: int, pid: int) -> float:
    """KiB for each of many clients that say nothing."""
    load(port, "connect", "-n", "50", "-P", "/fanout")
    time.sleep(0.5)
    before = resident(pid)
    command = [
        "taskset",
        "-c",
        "1",
        str(LOAD),
        "connect",
        "-n",
        str(IDLE),
        "--hold",
        "4",
        "-p",
        str(port),
        "-P",
        "/fanout",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("READY"):
                break
        time.sleep(1.5)
        after = resident(pid)
        process.communicate(timeout=60)
    return (after - before) / IDLE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    LOAD.parent.mkdir(exist_ok=True)
    subprocess.run(["cc", "-O2", "-o", str(LOAD), str(HERE / "wsload.c")], check=True)

    figures: dict[str, dict[str, list[float]]] = {}
    port = PORT
    for _ in range(options.rounds):
        for name in SERVERS:
            port += 1
            with serving(name, port) as process:
                for title, arguments in MEASURES.items():
                    rate = load(port, *arguments, "-t", str(options.seconds))["rate"]
                    figures.setdefault(title, {}).setdefault(name, []).append(rate)
                title = f"KiB for each of {IDLE} idle clients"
                figures.setdefault(title, {}).setdefault(name, []).append(idle_memory(port, process.pid))

    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True)
    print(
        f"commit {commit.stdout.strip()}, {os.cpu_count()} processors, {options.rounds} rounds of {options.seconds:g} s"
    )
    print(f"{'':42}" + "".join(f"{name:>18}" for name in SERVERS) + f"{'ratio':>8}")
    for title, by_name in figures.items():
        medians = [statistics.median(by_name[name]) for name in SERVERS]
        row = "".join(f"{median:18,.1f}" if median < 1000 else f"{median:18,.0f}" for median in medians)
        print(f"{title:42}{row}{medians[0] / medians[1]:8.2f}")


if __name__ == "__main__":
    main()
