"""Channels with history on two nodes, with a real Redis that is killed, frozen, replaced and moved under traffic.

Clients of both nodes publish numbered messages, and others receive them with their positions. Some of these lose their
connection again and again and resume. In the end, the order in which Redis has numbered the messages judges what each
has received: nothing twice, nothing out of order, and nothing missing without a gap.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from redis.crc import key_slot
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from tests.cli.command import fws
from tests.integration.conftest import Running
from tests.integration.redis_server import RedisServer
from tests.integration.test_redis_cluster import Nodes as RedisCluster
from tests.integration.test_redis_sentinel import Group

pytestmark = pytest.mark.process

TOML = """
[redis]
url = "${REDIS_URL}"
[limits]
messages = "1000/s"
[channels.lobby]
history = 100000
history_size = "64MiB"
presence = true
[channels.short]
history = 5
[endpoints."/read"]
positions = true
connect = ["join lobby since=request.query.since"]
[endpoints."/write"]
message = ["json", "publish lobby", "echo"]
[endpoints."/short"]
positions = true
connect = ["join short since=request.query.since"]
message = ["publish short"]
"""
# A Cluster cannot be subscribed by pattern.
PATTERNS = """
[channels."device:*"]
subscribe = "client.id != ''"
subscribe_patterns = true
[channels."log:*"]
history = 10
subscribe = "client.id != ''"
subscribe_patterns = true
[endpoints."/patterns"]
message = ["json", "subscribe {message.channel}"]
[endpoints."/publish/{to}"]
message = ["publish {to}"]
"""
CHANNEL = "fws:lobby"
# Seconds between two messages of one publisher.
PACE = 0.01


class Reader:
    """A client that resumes wherever it was, on one node and then on the other.

    Args:
        restless: whether it cuts its connection again and again.
    """

    def __init__(self, nodes: list[Running], first: int, *, restless: bool) -> None:
        self.seen: list[dict[str, Any]] = []
        self.connections = 0
        self._nodes, self._first, self._restless = nodes, first, restless
        self._stopped = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def last(self) -> int:
        return self.seen[-1]["offset"] if self.seen else -1

    def _run(self) -> None:
        while not self._stopped:
            node = self._nodes[(self._first + self.connections) % 2]
            self.connections += 1
            since = f"?since={self.seen[-1]['epoch']}:{self.seen[-1]['offset']}" if self.seen else ""
            with contextlib.suppress(OSError, WebSocketException, TimeoutError):
                self._read(node.url(f"/read{since}"))
            time.sleep(0.1)

    def _read(self, url: str) -> None:
        until = time.monotonic() + (0.7 if self._restless else 3600)
        with connect(url, legacy=True) as socket:
            while not self._stopped and time.monotonic() < until:
                with contextlib.suppress(TimeoutError):
                    self.seen.append(json.loads(socket.recv(0.1)))
            if self._restless:
                socket.socket.close()  # the client is gone without a word

    def stop(self) -> None:
        self._stopped = True
        self._thread.join(20)


class Writer:
    """A client that publishes numbered messages, each after the echo of the one before."""

    def __init__(self, node: Running, name: str) -> None:
        self.sent = 0
        self._node, self._name = node, name
        self._stopped = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with connect(self._node.url("/write"), legacy=True) as socket:
            while not self._stopped:
                socket.send(json.dumps({"by": self._name, "n": self.sent}))
                socket.recv(30)
                self.sent += 1
                time.sleep(PACE)

    def stop(self) -> None:
        self._stopped = True
        self._thread.join(40)


class Scene:
    """Two nodes with readers and writers.

    Args:
        shown: where the numbered publications can be read in the end.
    """

    def __init__(self, folder: Path, url: str, shown: Callable[[], RedisServer]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "test.toml").write_text(TOML)
        self.folder, self.url, self.shown = folder, url, shown
        self.nodes = [self.node() for _ in range(2)]
        self.readers = [Reader(self.nodes, n % 2, restless=n >= 2) for n in range(6)]
        self.wait_until(lambda: all(reader.seen for reader in self.readers), "everybody has joined")
        self.writers = [Writer(node, f"w{number}") for number, node in enumerate(self.nodes)]
        time.sleep(1)

    def node(self) -> Running:
        return Running(["run", "test.toml", "--listen", "127.0.0.1:0"], self.folder, {"REDIS_URL": self.url}).ready()

    def wait_until(self, is_so: Callable[[], bool], what: str, timeout: float = 30) -> None:
        until = time.monotonic() + timeout
        while not is_so():
            assert time.monotonic() < until, f"not in time: {what}"
            time.sleep(0.02)

    def entries(self) -> list[tuple[str, int, dict[str, Any]]]:
        """The publications in Redis: epoch, offset, message."""
        found = []
        stream: Any = self.shown().client().xrange("fws:history:{fws:lobby}")
        for _, fields in stream:
            head, _, body = fields[b"e"].partition(b"\n")
            header = json.loads(head.removeprefix(b"\0fws1"))
            found.append((header["epoch"], header["offset"], json.loads(body)))
        return found

    def finish(self) -> tuple[int, int]:
        """Let everything arrive, and judge. Returns the publications and the gaps."""
        for writer in self.writers:
            writer.stop()
        for reader in self.readers:
            reader._restless = False
        self.wait_until(lambda: len({reader.last for reader in self.readers}) == 1, "all readers are at the same place")
        time.sleep(0.5)
        entries = self.entries()
        self.wait_until(lambda: all(one.last == entries[-1][1] for one in self.readers), "everything has arrived")
        for reader in self.readers:
            reader.stop()
        texts = [(message["by"], message["n"]) for _, _, message in entries]
        for name in ("w0", "w1"):
            mine = [number for by, number in texts if by == name]
            assert mine == sorted(set(mine)), "stored twice, or not in the order of publishing"
        assert [offset for _, offset, _ in entries] == list(range(entries[0][1], entries[-1][1] + 1))
        stored = {(epoch, offset): message for epoch, offset, message in entries}
        gaps = sum(self.judge(reader, stored) for reader in self.readers)
        return len(entries), gaps

    @staticmethod
    def judge(reader: Reader, stored: dict[tuple[str, int], Any]) -> int:
        last, excused, gaps = None, False, 0
        for one in reader.seen:
            if one.get("type") == "gap":
                gaps += 1
                excused = True
            elif "message" in one:
                offset = one["offset"]
                kept = stored.get((one["epoch"], offset))
                assert kept is None or kept == one["message"]
                if last is not None:
                    assert offset > last or excused, f"twice or out of order: {offset} after {last}"
                    assert offset == last + 1 or excused, f"a silent hole: {offset} after {last}"
                last, excused = offset, False
        return gaps

    def close(self) -> None:
        for node in self.nodes:
            node.end()


def killed(folder: Path) -> tuple[Scene, Callable[[], None]]:
    """Redis is killed, and starts again with all its data."""
    server = RedisServer(folder / "redis", "--appendonly", "yes", "--appendfsync", "always")
    scene = Scene(folder, server.url, lambda: server)

    def fault() -> None:
        for _ in range(2):
            server.kill()
            time.sleep(1.5)
            server.start()
            time.sleep(4)

    return scene, fault


def frozen(folder: Path) -> tuple[Scene, Callable[[], None]]:
    """Redis does not answer for longer than the nodes wait."""
    server = RedisServer(folder / "redis")
    scene = Scene(folder, server.url, lambda: server)

    def fault() -> None:
        server.freeze()
        time.sleep(5)
        server.thaw()
        time.sleep(4)

    return scene, fault


def deaf(folder: Path) -> tuple[Scene, Callable[[], None]]:
    """Redis cuts the subscriptions, and later all connections."""
    server = RedisServer(folder / "redis")
    scene = Scene(folder, server.url, lambda: server)

    def fault() -> None:
        for kind in ("pubsub", "pubsub", "normal", "pubsub"):
            server.say("CLIENT", "KILL", "TYPE", kind)
            time.sleep(1.5)

    return scene, fault


def replaced(folder: Path) -> tuple[Scene, Callable[[], None]]:
    """The master is killed, and its replica is promoted."""
    group = Group(folder / "group")
    scene = Scene(folder, group.url, lambda: group.servers[1])

    def fault() -> None:
        group.servers[0].kill()
        scene.wait_until(lambda: group.servers[1].say("ROLE")[0] == b"master", "failed over")
        time.sleep(6)

    scene.close_redis = group.kill  # type: ignore[attr-defined]
    return scene, fault


def moved(folder: Path) -> tuple[Scene, Callable[[], None]]:
    """The slot of the channel moves to another node of the Cluster, with its keys."""
    cluster = RedisCluster(folder / "cluster")
    source = cluster.serving(CHANNEL.encode())
    target = next(server for server in cluster.servers if server is not source)
    scene = Scene(folder, cluster.url, lambda: target)

    def fault() -> None:
        slot = key_slot(CHANNEL.encode())
        ids = {server: server.say("CLUSTER", "MYID").decode() for server in (source, target)}
        target.say("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
        source.say("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
        while keys := source.say("CLUSTER", "GETKEYSINSLOT", slot, 10):
            source.say("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        for server in (target, source, *cluster.servers):
            server.say("CLUSTER", "SETSLOT", slot, "NODE", ids[target])
        time.sleep(4)

    scene.close_redis = cluster.kill  # type: ignore[attr-defined]
    return scene, fault


def node_lost(folder: Path) -> tuple[Scene, Callable[[], None]]:
    """A node is killed. Its readers resume on the other one, and on the new one."""
    server = RedisServer(folder / "redis")
    scene = Scene(folder, server.url, lambda: server)

    def fault() -> None:
        scene.writers[1].stop()
        scene.nodes[1].end()
        time.sleep(2)
        scene.nodes[1] = scene.node()
        for reader in scene.readers:
            reader._nodes = scene.nodes
        time.sleep(2)

    return scene, fault


# Each fault, and whether it may cost a gap.
FAULTS: dict[str, tuple[Callable[[Path], tuple[Scene, Callable[[], None]]], bool]] = {
    "killed": (killed, False),
    "frozen": (frozen, False),
    "deaf": (deaf, False),
    "replaced": (replaced, True),
    "moved": (moved, False),
    "node lost": (node_lost, False),
}


def play(name: str, folder: Path) -> tuple[int, int]:
    scene, fault = FAULTS[name][0](folder)
    try:
        fault()
        return scene.finish()
    finally:
        scene.close()
        getattr(scene, "close_redis", scene.shown().kill)()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[tuple[int, int]]]]:
    with ThreadPoolExecutor(3) as pool:
        yield {name: pool.submit(play, name, tmp_path_factory.mktemp(name.replace(" ", "-"))) for name in FAULTS}


@pytest.mark.parametrize("name", FAULTS)
def test_nothing_twice_and_no_silent_hole(results: dict[str, Future[tuple[int, int]]], name: str) -> None:
    count, gaps = results[name].result(180)
    print(f"\n{name}: {count} publications, {gaps} gaps")
    assert count > 200
    assert gaps == 0 or FAULTS[name][1]


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    yield server
    server.kill()


@pytest.fixture
def nodes(tmp_path: Path, redis_server: RedisServer) -> Iterator[list[Running]]:
    (tmp_path / "test.toml").write_text(TOML + PATTERNS)
    environ = {"REDIS_URL": redis_server.url}
    made = [Running(["run", "test.toml", "--listen", "127.0.0.1:0"], tmp_path, environ).ready() for _ in range(2)]
    yield made
    for node in made:
        node.end()


def received(socket: Any) -> list[Any]:
    found = []
    with contextlib.suppress(TimeoutError):
        while True:
            found.append(json.loads(socket.recv(0.5)))
    return found


def test_what_was_trimmed_is_a_gap(nodes: list[Running]) -> None:
    with connect(nodes[0].url("/short"), legacy=True) as socket:
        [begin] = received(socket)
        for number in range(20):
            socket.send(f"{number}")
        assert len(received(socket)) == 20
    with connect(nodes[1].url(f"/short?since={begin['epoch']}:{begin['offset']}"), legacy=True) as socket:
        gap, *rest = received(socket)
    assert (gap["type"], gap["offset"]) == ("gap", 15)
    assert [one["message"] for one in rest] == ["15", "16", "17", "18", "19"]


def test_other_programs_publish(nodes: list[Running], redis_server: RedisServer, tmp_path: Path) -> None:
    environ = {"REDIS_URL": redis_server.url}
    # Nobody is a member: a plain message is lost, and one that is stored and published in one step is not.
    redis_server.say("PUBLISH", "fws:short", "nobody hears this")
    assert fws("publish", "test.toml", "short", "kept", cwd=tmp_path, **environ).returncode == 0
    with connect(nodes[0].url("/short?since=none:1"), legacy=True) as socket:
        gap, kept = received(socket)
        assert (gap["type"], kept["offset"], kept["message"]) == ("gap", 1, "kept")
        redis_server.say("PUBLISH", "fws:short", "plain")
        assert fws("publish", "test.toml", "short", stdin="line 1\nline 2\n", cwd=tmp_path, **environ).returncode == 0
        got = [(one["offset"], one["message"]) for one in received(socket)]
        assert got == [(2, "plain"), (3, "line 1"), (4, "line 2")]
    # As docs/redis.md says, from any language.
    script = fws("publish", "--lua", "test.toml", "short", cwd=tmp_path, **environ).stdout
    keys = ("fws:history:{fws:short}", "fws:position:{fws:short}")
    fixed = ("fws:short", "PUBLISH", "", 172800000, "shop-1", 5, 86400000, 1048576, "x1y2", "", 0, "")
    for _ in range(2):
        redis_server.say("EVAL", script, 2, *keys, *fixed, 1, '"node":"shop-1"}\nfrom a shop')
    with connect(nodes[1].url(f"/short?since={kept['epoch']}:4"), legacy=True) as socket:
        assert [(one["offset"], one["message"]) for one in received(socket)] == [(5, "from a shop")]


def test_patterns_across_nodes(nodes: list[Running], redis_server: RedisServer) -> None:
    """Redis sends a message to a node once for the name of the channel, and once for the pattern of the rule."""
    with contextlib.ExitStack() as stack:
        there = stack.enter_context(connect(nodes[1].url("/patterns"), legacy=True))
        for channel in ("device:*", "log:*", "log:2"):
            there.send(json.dumps({"channel": channel}))
            assert json.loads(there.recv(5))["type"] == "subscribed"
        time.sleep(0.3)
        expected = []
        for node in nodes:
            for channel in ("device:1", "device:2", "log:1", "log:2"):
                here = stack.enter_context(connect(node.url(f"/publish/{channel}"), legacy=True))
                for number in range(3):
                    here.send(f'"{channel} {number}"')
                    expected.append(f"{channel} {number}")
        redis_server.say("PUBLISH", "fws:device:3", '"plain"')
        expected.append("plain")
        assert sorted(received(there)) == sorted(expected)
        # A member of the channel on the same node gets it as well, and once.
        there.send('{"channel": "device:1"}')
        assert json.loads(there.recv(5))["type"] == "subscribed"
        time.sleep(0.3)
        for number in range(3):
            redis_server.say("PUBLISH", "fws:device:1", f"{number}")
        assert received(there) == [0, 1, 2]
        there.close()
        until = time.monotonic() + 5
        while redis_server.say("PUBSUB", "NUMPAT"):
            assert time.monotonic() < until
            time.sleep(0.05)


def test_presence_and_history_from_the_command_line(nodes: list[Running], tmp_path: Path) -> None:
    control = nodes[0].wait_for(r"control +(\S+)")[1]
    with connect(nodes[0].url("/read"), legacy=True), connect(nodes[1].url("/read"), legacy=True) as there:
        received(there)
        shown = fws("presence", "test.toml", "lobby", "--socket", control, cwd=tmp_path)
        assert (len(shown.stdout.splitlines()), shown.stderr) == (2, "2 clients, 2 users\n")
        with connect(nodes[1].url("/write"), legacy=True) as writer:
            writer.send('{"a":1}')
            writer.recv(5)
        received(there)
        shown = fws("history", "test.toml", "lobby", "--socket", control, cwd=tmp_path)
        assert shown.stdout == '       1 {"a":1}\n'
        assert "fws:lobby" not in fws("channels", "test.toml", "--socket", control, cwd=tmp_path).stdout
        refused = fws("history", "test.toml", "other", "--socket", control, cwd=tmp_path)
        assert (refused.returncode, "has no history" in refused.stderr) == (69, True)


def test_a_killed_nodes_clients_leave_presence_within_15_seconds(nodes: list[Running], tmp_path: Path) -> None:
    control = nodes[0].wait_for(r"control +(\S+)")[1]

    def present() -> int:
        return len(fws("presence", "test.toml", "lobby", "--socket", control, cwd=tmp_path).stdout.splitlines())

    with connect(nodes[0].url("/read"), legacy=True), connect(nodes[1].url("/read"), legacy=True):
        until = time.monotonic() + 5
        while present() != 2:
            assert time.monotonic() < until
        time.sleep(1)
        nodes[1].process.kill()
        began = time.monotonic()
        while present() != 1:
            assert time.monotonic() - began < 15
            time.sleep(0.2)
