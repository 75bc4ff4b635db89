"""What a program as a filter costs: µs per message in each mode, beside websocketd, and what others notice of it.

    python bench/exec.py [--quick]

One client sends a message, waits for its answer, and sends the next: the figure is the time from one to the other,
the median of some rounds in which the servers take turns. The program is `cat`; for each message it is `wc -w`, whose
start is nearly all of the time. websocketd is Debian's package. Then a client echoes through the same server while
nothing else happens, while others wait for programs that sleep, and while 1,000 clients start a process each. Prints
Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import IO

from websockets.sync.client import ClientConnection, connect

from process import free_port
from protocols import Server

WARM, ROUNDS, MESSAGES, MANY, WAITING = 50, 5, 2000, 1000, 20
CONF = """
[server]
listen = "127.0.0.1:{port}"
[limits]
clients_per_address = 100000
connections_per_address = "100000/s"
[endpoints."/echo"]
message = ["echo"]
[endpoints."/server"]
message = ["exec cat per=server", "echo"]
[endpoints."/client"]
message = ["exec cat per=client most=2000 timeout=60s", "echo"]
[endpoints."/message"]
message = ["exec 'wc -w' per=message", "echo"]
[endpoints."/sleep"]
message = ["exec 'sleep 1' per=message most=50", "echo"]
[endpoints."/shared"]
message = ["exec \\"while read -r x; do sleep 0.2; echo $x; done\\" shell=true per=server timeout=60s", "echo"]
"""


@contextlib.contextmanager
def running(command: list[str], port: int) -> Iterator[Server]:
    server = Server(command, port)
    try:
        yield server
    finally:
        server.stop()


def trips(client: ClientConnection, number: int) -> float:
    """Seconds for each of so many messages that wait for their answers."""
    began = time.perf_counter()
    for _ in range(number):
        client.send("one two three")
        client.recv(60)
    return (time.perf_counter() - began) / number


def compare(urls: dict[str, tuple[Server, str]], messages: dict[str, int]) -> dict[str, tuple[float, float]]:
    """For each server the median of the time of a message, and the processor time that the server takes for it, in µs.

    The programs' own processor time is not counted.
    """
    found: dict[str, list[float]] = {name: [] for name in urls}
    cpu = dict.fromkeys(urls, 0.0)
    with contextlib.ExitStack() as stack:
        clients = {name: stack.enter_context(connect(url, compression=None)) for name, (_, url) in urls.items()}
        for name, client in clients.items():
            trips(client, min(WARM, messages[name]))
        for _ in range(ROUNDS):
            for name, client in clients.items():
                before = urls[name][0].cpu()
                found[name].append(trips(client, messages[name]))
                cpu[name] += urls[name][0].cpu() - before
    rounds = {name: ROUNDS * messages[name] for name in urls}
    return {name: (statistics.median(times) * 1e6, cpu[name] / rounds[name] * 1e6) for name, times in found.items()}


def echoes(client: ClientConnection, until: Callable[[], bool]) -> list[float]:
    """Seconds of echoes, one every 2 ms, in ascending order."""
    times = []
    while not until():
        began = time.perf_counter()
        client.send("x")
        client.recv(60)
        times.append(time.perf_counter() - began)
        time.sleep(0.002)
    return sorted(times)


def after(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def row(what: str, times: list[float]) -> str:
    percentile = times[int(len(times) * 0.99)]
    return f"| {what} | {statistics.median(times) * 1e3:.2f} | {percentile * 1e3:.2f} | {times[-1] * 1e3:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    many = 100 if quick else MANY
    seconds = 1.0 if quick else 5.0
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    port = free_port()
    with contextlib.ExitStack() as stack:
        conf = stack.enter_context(tempfile.NamedTemporaryFile("w", suffix=".toml"))
        conf.write(CONF.format(port=port))
        conf.flush()
        server = stack.enter_context(running([sys.executable, "-m", "fws", "run", conf.name], port))
        ours = f"ws://127.0.0.1:{port}"
        urls = {name: (server, f"{ours}/{name}") for name in ("echo", "server", "client", "message")}
        if shutil.which("websocketd"):
            theirs = free_port()
            command = ["websocketd", "--loglevel=error", f"--port={theirs}", "--address=127.0.0.1", "cat"]
            urls["websocketd"] = stack.enter_context(running(command, theirs)), f"ws://127.0.0.1:{theirs}/"
        messages = {name: (100 if quick else MESSAGES) // (20 if name == "message" else 1) for name in urls}
        print("| one message and its answer | µs | µs of the server's processor time |\n| --- | --- | --- |")
        names = {
            "echo": "fws without a program",
            "server": 'fws, `per = "server"`',
            "client": 'fws, `per = "client"`',
            "message": 'fws, `per = "message"`',
            "websocketd": "websocketd, a process for each client",
        }
        for name, (figure, cpu) in compare(urls, messages).items():
            print(f"| {names[name]} | {figure:.0f} | {cpu:.0f} |")
        print("\n| an echo beside | median ms | 99 % | longest |\n| --- | --- | --- | --- |")
        client = stack.enter_context(connect(f"{ours}/echo", compression=None))
        print(row("nothing", echoes(client, after(seconds))))
        waiting = [
            stack.enter_context(connect(f"{ours}/{path}", compression=None))
            for path in ("sleep", "shared") * (WAITING // 2)
        ]
        for one in waiting:
            one.send("x")
        print(row(f"{WAITING} clients whose programs sleep", echoes(client, after(seconds))))
        times, took = starting(f"{ours}/client", client, many)
        print(row(f"{many} clients that start a process each, in {took:.1f} s", times))


def starting(url: str, client: ClientConnection, many: int) -> tuple[list[float], float]:
    """Echoes while so many clients start a process each, and the seconds that all of them took. Another process has the
    clients.
    """
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, url, str(many)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert driver.stdout is not None
    driver.stdout.readline()  # all are connected
    assert driver.stdin is not None
    driver.stdin.write("go\n")
    driver.stdin.flush()
    done = threading.Event()
    began = time.monotonic()
    threading.Thread(target=wait_for_line, args=(driver.stdout, done), daemon=True).start()
    times = echoes(client, done.is_set)
    took = time.monotonic() - began
    driver.communicate("end\n", timeout=60)
    return times, took


def wait_for_line(stream: IO[str], done: threading.Event) -> None:
    stream.readline()
    done.set()


DRIVER = """
import asyncio, sys
from websockets.asyncio.client import connect
async def main(url, many):
    clients = [await connect(url, compression=None) for _ in range(many)]
    print("connected", flush=True)
    sys.stdin.readline()
    await asyncio.gather(*(client.send("x") for client in clients))
    await asyncio.gather(*(client.recv() for client in clients))
    print("answered", flush=True)
    sys.stdin.readline()
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


if __name__ == "__main__":
    main()
