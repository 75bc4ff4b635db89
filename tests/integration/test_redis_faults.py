"""Faults of Redis, and two nodes with clients that must survive them.

Each fault has a Redis, two nodes and a load of its own: a client of the first node publishes 40 numbered messages a
second and waits for the echo of each; a member on each node records what it gets and when. All faults run once at the
same time, and the tests check the measurements; `pytest -s` shows the figures.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.integration.conftest import Running
from tests.integration.redis_server import RedisServer

PASSWORD = "open-sesame"
TOML = """
[redis]
url = "${REDIS_URL}"
[pipelines]
connect = ["join lobby"]
message = ["broadcast lobby to=others", "echo"]
[endpoints."/room/{room}"]
connect = ["join 'room {room}'"]
message = ["broadcast 'room {room}' to=others"]
"""
# Seconds between two messages.
PACE = 0.025


class Member:
    """A client that records what arrives."""

    def __init__(self, url: str) -> None:
        self.socket: ClientConnection = connect(url, legacy=True)
        self.got: list[tuple[float, str]] = []
        self.closed = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for message in self.socket:
                self.got.append((time.monotonic(), str(message)))
        except ConnectionClosed:
            pass
        self.closed = True

    def end(self) -> None:
        self.socket.close()
        self._thread.join(10)

    def numbers(self) -> list[int]:
        return [int(text) for _, text in self.got if text.isdecimal()]

    def longest_silence(self, since: float) -> float:
        times = [when for when, text in self.got if text.isdecimal() and when >= since]
        return max((b - a for a, b in itertools.pairwise([since, *times])), default=0.0)


class Scene:
    """A Redis, two nodes, a publisher on the first and a member on each.

    Attributes:
        waits: seconds that the publisher waited for each echo.
        back: when Redis was working again.
    """

    def __init__(self, folder: Path, server: RedisServer, url: str) -> None:
        self.server = server
        self.back = 0.0
        self.waits: list[float] = []
        self.sent = 0
        self._stopped = threading.Event()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "test.toml").write_text(TOML)
        arguments = ["run", "test.toml", "--listen", "127.0.0.1:0"]
        self.nodes = [Running(arguments, folder, {"REDIS_URL": url}) for _ in range(2)]
        for node in self.nodes:
            node.ready()

    def begin(self) -> None:
        self.here, self.there = Member(self.nodes[0].url()), Member(self.nodes[1].url())
        self.publisher: ClientConnection = connect(self.nodes[0].url(), legacy=True)
        self.began = time.monotonic()
        self._thread = threading.Thread(target=self._publish, daemon=True)
        self._thread.start()

    def _publish(self) -> None:
        while not self._stopped.is_set():
            self.publisher.send(str(self.sent))
            asked = time.monotonic()
            while self.publisher.recv(30) != str(self.sent):
                pass
            self.waits.append(time.monotonic() - asked)
            self.sent += 1
            time.sleep(PACE)

    def health(self, node: int = 0) -> dict[str, str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.nodes[node].port}/healthz", timeout=10) as answer:
            health: dict[str, str] = json.load(answer)
            return health

    def wait_until(self, is_so: Callable[[], bool], timeout: float, what: str) -> float:
        """Wait for a condition. Returns the seconds."""
        began = time.monotonic()
        while not is_so():
            assert time.monotonic() - began < timeout, f"not within {timeout} s: {what}"
            time.sleep(0.02)
        return time.monotonic() - began

    def wait_for_health(self, status: str, timeout: float = 10) -> float:
        return self.wait_until(
            lambda: all(self.health(node)["status"] == status for node in (0, 1)), timeout, f"status {status}"
        )

    def wait_until_heard(self, timeout: float = 5) -> float:
        """Wait until a publication from now on has crossed to the other node."""
        number = self.sent + 1
        return self.wait_until(lambda: max(self.there.numbers(), default=-1) >= number, timeout, "crossed again")

    def end(self) -> None:
        """Stop publishing and let everything arrive."""
        self._stopped.set()
        self._thread.join(30)
        last = self.sent - 1
        self.wait_until(lambda: last in self.there.numbers()[-1:], 10, "the last message has crossed")

    def close(self) -> None:
        self._stopped.set()
        for node in self.nodes:
            node.end()
        self.server.kill()


class Result:
    """The measurements of one fault."""

    def __init__(self, scene: Scene, detected: float | None, recovered: float | None) -> None:
        everything = list(range(scene.sent))
        self.here, self.there = scene.here.numbers(), scene.there.numbers()
        self.lost_here = len(set(everything) - set(self.here))
        self.lost = len(set(everything) - set(self.there))
        self.twice = len(self.here) - len(set(self.here)) + len(self.there) - len(set(self.there))
        self.in_order = self.here == sorted(self.here) and self.there == sorted(self.there)
        self.silence_here = scene.here.longest_silence(scene.began)
        self.silence = scene.there.longest_silence(scene.began)
        self.wait = max(scene.waits)
        self.sent = scene.sent
        self.detected = detected
        self.recovered = recovered
        self.closed = scene.here.closed or scene.there.closed
        self.output = "\n".join(node.output for node in scene.nodes)
        self.logs = [[line for line in node.lines if " Redis " in line] for node in scene.nodes]

    def __str__(self) -> str:
        def seconds(value: float | None) -> str:
            return "-" if value is None else f"{value:.2f}"

        return (
            f"sent {self.sent:4}  lost {self.lost:3} (local {self.lost_here})  twice {self.twice}  "
            f"silence {self.silence:5.2f} s (local {self.silence_here:.2f})  longest wait {self.wait * 1000:4.0f} ms  "
            f"noticed {seconds(self.detected)} s  back {seconds(self.recovered)} s"
        )


# Faults. Each breaks Redis and mends it, and returns the seconds until the nodes noticed, and until all was well again.

Times = tuple[float | None, float | None]


def mended(scene: Scene) -> float:
    """Redis works from now on. Returns the seconds until messages cross again and the nodes report that all is well."""
    began = time.monotonic()
    scene.wait_for_health("ok", 8)
    scene.wait_until_heard()
    return time.monotonic() - began


def killed(scene: Scene) -> Times:
    scene.server.kill()
    detected = scene.wait_for_health("degraded")
    time.sleep(3)
    scene.server.start()
    return detected, mended(scene)


def absent_at_start(scene: Scene) -> Times:
    scene.wait_for_health("degraded")
    time.sleep(2)
    scene.server.start()
    return None, mended(scene)


def frozen(scene: Scene) -> Times:
    scene.server.freeze()
    detected = scene.wait_for_health("degraded")
    time.sleep(max(0.0, 9 - detected))
    scene.server.thaw()
    return detected, mended(scene)


def subscribers_killed(scene: Scene) -> Times:
    for _ in range(10):
        scene.server.say("CLIENT", "KILL", "TYPE", "pubsub")
        time.sleep(0.15)
    return None, mended(scene)


def overrun(scene: Scene) -> Times:
    say = scene.server.say
    say("CONFIG", "SET", "client-output-buffer-limit", "pubsub 64kb 0 0")
    with scene.server.client() as client:
        pipe = client.pipeline(transaction=True)  # all at once, so that nobody can read in between
        for _ in range(100):
            pipe.publish("fws:lobby", "x" * 10_000)
        pipe.execute()
    for node in scene.nodes:
        node.wait_for("is away: it closed the connection")
    say("CONFIG", "SET", "client-output-buffer-limit", "pubsub 32mb 8mb 60")
    return None, mended(scene)


def password_changed(scene: Scene) -> Times:
    server = scene.server
    server.say("CONFIG", "SET", "requirepass", "another")
    server.password = "another"
    server.say("CLIENT", "KILL", "TYPE", "pubsub")
    server.say("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    detected = scene.wait_for_health("degraded")
    time.sleep(2)
    server.say("CONFIG", "SET", "requirepass", PASSWORD)
    server.password = PASSWORD
    return detected, mended(scene)


def publish_forbidden(scene: Scene) -> Times:
    scene.server.say("ACL", "SETUSER", "default", "-publish")
    detected = scene.wait_until(lambda: scene.health(0)["status"] == "degraded", 10, "noticed")
    time.sleep(2)
    scene.server.say("ACL", "SETUSER", "default", "+publish")
    return detected, mended(scene)


def read_only(scene: Scene) -> Times:
    scene.server.say("REPLICAOF", "127.0.0.1", "1")
    time.sleep(1.5)
    scene.server.say("REPLICAOF", "NO", "ONE")
    return None, mended(scene)


def loading(scene: Scene) -> Times:
    server = scene.server
    with server.client() as client:
        client.mset({f"key{number}": "x" * 100 for number in range(3000)})
        client.save()
    server.kill()
    server.start("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024", wait=False)
    detected = scene.wait_for_health("degraded")
    server.wait()
    return detected, mended(scene)


def asleep(scene: Scene) -> Times:
    threading.Thread(target=scene.server.say, args=("DEBUG", "SLEEP", "3")).start()
    time.sleep(3)
    return None, mended(scene)


FAULTS: dict[str, Callable[[Scene], Times]] = {
    "frozen": frozen,
    "killed": killed,
    "absent at start": absent_at_start,
    "password changed": password_changed,
    "loading": loading,
    "asleep": asleep,
    "publish forbidden": publish_forbidden,
    "subscribers killed": subscribers_killed,
    "overrun": overrun,
    "read only": read_only,
}
# Those that take the subscription away: what other nodes publish meanwhile and Redis still takes does not arrive.
GAPS = {"subscribers killed", "overrun"}


def play(name: str, folder: Path) -> Result:
    absent = name == "absent at start"
    options = ("--requirepass", PASSWORD) if name == "password changed" else ()
    server = RedisServer(folder, *options, start=False)
    url = server.url
    if options:
        server.password = PASSWORD
        url = f"redis://:{PASSWORD}@127.0.0.1:{server.port}"
    if not absent:
        server.start()
    scene = Scene(folder, server, url)
    try:
        if not absent:
            scene.wait_for_health("ok")
        scene.begin()
        if not absent:
            scene.wait_until_heard()
            time.sleep(0.5)
        times = FAULTS[name](scene)
        time.sleep(0.5)
        scene.end()
        return Result(scene, *times)
    finally:
        scene.close()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Result]]]:
    folder = tmp_path_factory.mktemp("faults")
    with ThreadPoolExecutor(5) as pool:
        yield {name: pool.submit(play, name, folder / name.replace(" ", "-")) for name in FAULTS}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault(results: dict[str, Future[Result]], name: str) -> None:
    result = results[name].result()
    print(f"\n{name:20} {result}")
    # Nobody here notices.
    assert not result.closed
    assert result.lost_here == 0
    assert result.wait < 2
    assert result.silence_here < 2
    # Nothing comes twice or in another order.
    assert result.twice == 0
    assert result.in_order
    # A dead link is noticed, and all is well soon after Redis is.
    assert result.detected is None or result.detected < 10
    assert result.recovered is not None
    assert result.recovered < 5
    # What waited was sent. Lost is what was on its way.
    assert result.lost < (0.5 * result.sent if name in GAPS else 5), str(result)
    for log in result.logs:
        # A line for each change of state, and nothing else. Those that come ten times are folded.
        states = [line.split(" Redis ")[1].split()[2] for line in log]
        assert name == "subscribers killed" or len(states) <= 3, log
        assert name == "subscribers killed" or all(a != b for a, b in itertools.pairwise(states)), log
    assert PASSWORD not in result.output
    assert "Traceback" not in result.output
