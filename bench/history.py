"""Measure what channels keep: publishing with and without history, recovery, memory, and presence.

    python bench/history.py [--quick]

Everything runs in this process, on the parts of a node without its sockets; the figures for Redis use a `redis-server`
of their own. Rates without and with history are measured in turn, and the ratio is between them. Prints Markdown.
"""

from __future__ import annotations

# The library must be patched before anything else is imported, as in a server.
from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402
import contextlib  # noqa: E402
import resource  # noqa: E402
import shutil  # noqa: E402
import socket  # noqa: E402
import statistics  # noqa: E402
import subprocess  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator, Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402

from fws.base.metrics import Metrics  # noqa: E402
from fws.base.timers import Timers  # noqa: E402
from fws.brokers.redis import RedisBroker  # noqa: E402
from fws.config import Channel  # noqa: E402
from fws.histories import scripts as of_histories  # noqa: E402
from fws.histories.memory import MemoryHistory  # noqa: E402
from fws.histories.redis import RedisHistory  # noqa: E402
from fws.pipeline.publication import Position, Publication  # noqa: E402
from fws.presence import scripts as of_presence  # noqa: E402
from fws.presence.base import Change, Present  # noqa: E402
from fws.presence.memory import MemoryPresence  # noqa: E402
from fws.presence.redis import RedisPresence  # noqa: E402
from fws.redis.connector import Connector  # noqa: E402
from fws.server.node import Node  # noqa: E402
from fws.testing.simulation import Simulation  # noqa: E402
from process import free_port  # noqa: E402

KEPT = Channel(history=100)
SHOWN = Channel(presence=True)
CONF = """
[channels.kept]
history = 100
[endpoints."/plain"]
connect = ["join plain"]
[endpoints."/kept"]
connect = ["join kept"]
[endpoints."/since"]
connect = ["join kept since=request.query.since"]
"""


class Counting:
    """A follower and a watcher that counts."""

    def __init__(self) -> None:
        self.count = 0

    def arrived(self, publication: Publication) -> None:
        self.count += 1

    def told(self, channel: str, top: Position) -> None: ...
    def missed(self, channel: str) -> None: ...
    def weigh(self, change: int) -> None: ...
    def changed(self, channel: str, change: Change) -> None: ...
    def renewed(self, channel: str, present: Sequence[Present]) -> None: ...


def simulation(members: int, path: str) -> Simulation:
    from fws.config import parse

    made = Simulation(parse(CONF, "bench.toml"), {})
    for number in range(members):
        made.connect(f"c{number}", path)
    made.settle()
    return made


def per_second(count: int, run: Callable[[], None], rounds: int = 5) -> float:
    """The median rate of some rounds."""
    rates = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        rates.append(count / (time.perf_counter() - began))
    return statistics.median(rates)


def in_memory(count: int) -> None:
    print("| publishing in memory, 128 bytes | without history | with | cost |\n| --- | --- | --- | --- |")
    for members in (0, 1, 10):
        rates = {}
        for channel in ("plain", "kept"):
            made = simulation(members, f"/{channel}")
            node: Node = made.nodes[""]
            for speaker in made.speakers.values():
                speaker.peer.send = lambda data: len(data)  # type: ignore[method-assign]

            def run(channel: str = channel, node: Node = node, made: Simulation = made) -> None:
                for number in range(count):
                    node.channels.publish(channel, "x" * 128)
                    if number % 50 == 49:
                        made._loop.turn(lambda: False)

            rates[channel] = per_second(count, run)
        plain, kept = rates["plain"], rates["kept"]
        print(f"| {members} members | {plain:,.0f}/s | {kept:,.0f}/s | {plain / kept:.2f} |")


def recovery() -> None:
    made = simulation(0, "/kept")
    node = made.nodes[""]
    for _ in range(100):
        node.channels.publish("kept", "x" * 200)
    made.settle()
    epoch = node.channels.history("kept")[0].epoch
    began = time.perf_counter()
    for number in range(1000):
        made.connect(f"c{number}", f"/since?since={epoch}:0")
    joined = time.perf_counter() - began
    assert all(speaker.client is not None for speaker in made.speakers.values())
    print(f"\n1,000 clients that connect and recover 100 publications of 200 bytes each, in memory: {joined:.2f} s")


def memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    history = MemoryHistory(time.monotonic, 2**40, Metrics())
    history.start(Counting())
    for number in range(10_000):
        for _ in range(100):
            history.publish(Publication(f"channel:{number}", "x" * 200), KEPT)
    taken = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"\n10,000 channels with 100 publications of 200 bytes in memory: {taken:,.0f} MiB ", end="")
    print(f"(counted as {history.size / 1024**2:,.0f} MiB, of which the payloads are {200 * 10**6 / 1024**2:,.0f})")


@contextlib.contextmanager
def redis() -> Iterator[str]:
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("redis-server is needed")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "--port", str(port), "--save", "", "--dir", str(Path(folder))]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            for _ in range(100):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.05)
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def broker_of(url: str, metrics: Metrics) -> RedisBroker:
    everything = (*of_histories.ALL, *of_presence.ALL)
    settings: dict[str, Any] = {"prefix": "fws:", "subscribe": [], "buffer": 2**20, "largest": 2**24}
    return RedisBroker(Connector(url), **settings, scripts=everything, metrics=metrics, clock=time.monotonic)


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        if time.monotonic() > until:
            raise SystemExit("Redis does not keep up")
        gevent.sleep(0.0005)


def with_redis(url: str, count: int) -> None:
    metrics, counting = Metrics(), Counting()
    broker = broker_of(url, metrics)
    history = RedisHistory(broker, metrics)
    broker.start(lambda one: counting.arrived(one), lambda: False)
    history.start(counting)
    wait_for(lambda: broker.available)
    print("\n| publishing through Redis, 128 bytes, 2,000 in flight | without history | with | with members here |")
    print("| --- | --- | --- | --- |")
    for channels in (1, 100, 1000):
        names = [f"c{number}" for number in range(channels)]
        rates = []
        for kept, followed in ((False, False), (True, False), (True, True)):
            if followed:
                for name in names:
                    broker.subscribe(name)
                    history.follow(name, KEPT)
                gevent.sleep(1)

            def run(kept: bool = kept, followed: bool = followed, names: list[str] = names) -> None:
                counting.count, sent = 0, metrics["redis_published"]
                for number in range(count):
                    publication = Publication(names[number % len(names)], "x" * 128)
                    if kept:
                        history.publish(publication, KEPT)
                    else:
                        broker.publish(publication)
                    if number % 200 == 199:
                        gevent.sleep(0)
                        while metrics["redis_published"] - sent <= number - 2000:
                            gevent.sleep(0.0005)
                wait_for(lambda: metrics["redis_published"] - sent >= count)
                if followed:
                    wait_for(lambda: counting.count >= count)

            rates.append(per_second(count, run, 3))
        print(f"| {channels} channels | {rates[0]:,.0f}/s | {rates[1]:,.0f}/s | {rates[2]:,.0f}/s |")
    broker.stop(1)


def presence(url: str) -> None:
    print("\n| presence of 10,000 members in one channel | join | leave | query |\n| --- | --- | --- | --- |")
    metrics = Metrics()
    broker = broker_of(url, metrics)
    shared = RedisPresence(broker, time.monotonic, Timers(), metrics)
    broker.start(lambda one: None, lambda: False)
    shared.start(Counting())
    wait_for(lambda: broker.available)
    for name, kind in (("memory", MemoryPresence(time.monotonic, Timers())), ("Redis", shared)):
        one: Any = kind
        if name == "memory":
            one.start(Counting())

        def ask(one: Any = one) -> int:
            answers: list[Any] = []
            one.who("a", answers.append)
            wait_for(lambda: bool(answers))
            return len(answers[0])

        people = [Present(f"client{number}", f"user{number}", {"name": f"Name {number}"}) for number in range(10_000)]
        began = time.perf_counter()
        for person in people:
            one.join("a", person, SHOWN)
        assert ask() == 10_000
        joined = time.perf_counter()
        for _ in range(5):
            ask()
        asked = time.perf_counter()
        for person in people:
            one.leave("a", person.client, SHOWN)
        assert ask() == 0
        left = time.perf_counter()
        print(
            f"| {name} | {(joined - began) * 1e2:.1f} µs | {(left - asked) * 1e2:.1f} µs "
            f"| {(asked - joined) * 200:.1f} ms |"
        )
    broker.stop(1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    count = 5_000 if options.quick else 20_000
    in_memory(count)
    recovery()
    memory()
    with redis() as url:
        with_redis(url, count)
        presence(url)


if __name__ == "__main__":
    main()
