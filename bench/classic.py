"""Compare a chat in the older Python API with the same chat in TOML: round trips of one client, deliveries to 1,000.

    python bench/classic.py [--rounds 3] [--seconds 2]

The server and the load generator each have a processor of their own, and the two chats take turns. Prints Markdown: the
median rates, the server's processor time per unit, and the ratio.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from process import free_port, pinned
from relay import cpu, started, wait_for

HERE = Path(__file__).parent
LOAD = HERE.parent / "build" / "wsload"
BROADCAST = "fws.classic.filters.broadcast_messages"
CONF = '[server]\norigins = ["*"]\n[pipelines]\nmessage = ["broadcast"]\n'
MEASURES = {
    "round trips of 1 client, 64 B": ["echo", "-n", "1", "-s", "64"],
    "deliveries to 1,000, one message at a time": ["fanout", "-n", "1000", "-s", "128", "-w", "1"],
    "deliveries to 1,000, 64 messages in flight": ["fanout", "-n", "1000", "-s", "128", "-w", "64"],
}


def command(name: str, conf: Path, port: int) -> list[str]:
    if name == "classic":
        return [sys.executable, "-m", "fws", "classic", "-p", str(port), "-f", BROADCAST]
    return [sys.executable, "-m", "fws", "run", str(conf), "--log-level", "error", "--listen", f"127.0.0.1:{port}"]


def measure(name: str, conf: Path, load: list[str], seconds: float) -> tuple[float, float]:
    """The rate, and the server's processor time for one unit in µs."""
    port = free_port()
    with started(*pinned("0", command(name, conf, port))) as server:
        wait_for(port)
        time.sleep(0.3)
        before = cpu(server.pid)
        run = [str(LOAD), *load, "-t", str(seconds), "-p", str(port), "-P", "/"]
        done = subprocess.run(pinned("1", run), capture_output=True, text=True, timeout=60 + seconds, check=True)
        spent = cpu(server.pid) - before
    result = json.loads(done.stdout.splitlines()[-1])
    return result["rate"], spent / max(result["rate"] * seconds, 1) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    LOAD.parent.mkdir(exist_ok=True)
    subprocess.run(["cc", "-O2", "-o", str(LOAD), str(HERE / "wsload.c")], check=True)
    print("| | classic a second | TOML a second | µs classic | µs TOML | TOML × classic |\n| --- |" + " ---: |" * 5)
    with tempfile.TemporaryDirectory() as folder:
        conf = Path(folder) / "chat.toml"
        conf.write_text(CONF)
        for title, load in MEASURES.items():
            rounds = [
                {name: measure(name, conf, load, options.seconds) for name in ("classic", "toml")}
                for _ in range(options.rounds)
            ]
            rate = {name: statistics.median(one[name][0] for one in rounds) for name in ("classic", "toml")}
            used = {name: statistics.median(one[name][1] for one in rounds) for name in ("classic", "toml")}
            ratio = statistics.median(one["toml"][0] / one["classic"][0] for one in rounds)
            figures = f"{rate['classic']:,.0f} | {rate['toml']:,.0f} | {used['classic']:.2f} | {used['toml']:.2f}"
            print(f"| {title} | {figures} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
