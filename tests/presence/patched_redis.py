"""Presence in Redis, in a process with a patched standard library, like a server. `test_redis.py` runs this."""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from fws.base.metrics import Metrics
from fws.base.timers import Timers
from fws.brokers.redis import RedisBroker
from fws.presence import scripts
from fws.presence.base import Present
from fws.presence.redis import RedisPresence
from fws.redis.connector import Connector
from tests.brokers.contract import wait_until
from tests.integration.redis_server import RedisServer
from tests.presence.contract import SHOWN, PresenceContract, Recorder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture
def prefix() -> str:
    return f"{secrets.token_hex(4)}:"


def failed(error: BaseException) -> None:
    raise error


class Node:
    """A broker, the presence, and what it tells."""

    def __init__(self, server: RedisServer, prefix: str) -> None:
        self.metrics = Metrics()
        settings: dict[str, Any] = {"prefix": prefix, "subscribe": [], "buffer": 2**20, "largest": 2**24}
        self.broker = RedisBroker(
            Connector(server.url), **settings, scripts=scripts.ALL, metrics=self.metrics, clock=time.monotonic
        )
        self.timers = Timers()
        self.presence = RedisPresence(self.broker, time.monotonic, self.timers, self.metrics)
        self.watcher = Recorder()
        self.broker.start(lambda publication: None, lambda: False)
        self.presence.start(self.watcher)
        self.sweeper = gevent.spawn(self._sweep)
        wait_until(lambda: self.broker.health() is None)

    def _sweep(self) -> None:
        while True:
            gevent.sleep(0.1)
            self.timers.run(time.monotonic(), failed)

    def watch(self) -> None:
        before = len(self.watcher.lists)
        self.broker.subscribe("a")
        self.presence.watch("a", SHOWN)
        wait_until(lambda: len(self.watcher.lists) >= before + 2)

    def who(self) -> list[str]:
        answers: list[Any] = [None]
        until = time.monotonic() + 15
        while answers[-1] is None and time.monotonic() < until:
            # While Redis is away there is no answer.
            before = len(answers)
            self.presence.who("a", answers.append)
            wait_until(lambda: len(answers) > before, 15)  # noqa: B023
            gevent.sleep(0.01)
        return sorted(one.client for one in answers[-1])

    def die(self) -> None:
        """As SIGKILL: nothing is said."""
        self.presence._ask = lambda channel: None  # type: ignore[method-assign]
        self.presence._mine.clear()
        self.presence._watched.clear()
        self.broker.stop(0)
        self.sweeper.kill()


class TestRedisPresence(PresenceContract):
    @pytest.fixture(autouse=True)
    def begin(self, server: RedisServer, prefix: str) -> Iterator[None]:
        self.node = Node(server, prefix)
        self.presence, self.watcher = self.node.presence, self.node.watcher
        yield
        self.node.die()

    def watch(self) -> None:
        self.node.watch()

    def settle(self) -> None:
        """The question is answered after everything that was sent before."""
        done: list[Any] = []
        self.node.presence.who("probe", done.append)
        wait_until(lambda: bool(done))
        gevent.sleep(0.02)

    def pass_time(self, seconds: float) -> None:
        gevent.sleep(seconds / 2)  # twice the linger is enough
        self.settle()


@pytest.fixture
def nodes(server: RedisServer, prefix: str) -> Iterator[list[Node]]:
    made = [Node(server, prefix) for _ in range(2)]
    yield made
    for node in made:
        node.die()


def join(node: Node, *clients: str) -> None:
    for client in clients:
        node.presence.join("a", Present(client, f"user of {client}"), SHOWN)


def test_each_node_knows_the_clients_of_all(nodes: list[Node]) -> None:
    first, second = nodes
    first.watch()
    join(first, "c1")
    join(second, "c2", "c3")
    wait_until(lambda: second.who() == ["c1", "c2", "c3"])
    second.presence.leave("a", "c3", SHOWN)
    wait_until(lambda: first.who() == ["c1", "c2"])
    joined, left, _ = first.watcher.take()
    assert (sorted(joined), left) == (["c1", "c2", "c3"], ["c3"])


def test_a_dead_nodes_clients_are_gone_within_15_seconds(nodes: list[Node]) -> None:
    first, second = nodes
    first.watch()
    join(first, "c1")
    join(second, "c2")
    wait_until(lambda: first.who() == ["c1", "c2"])
    gevent.sleep(1)  # both have said that they are alive
    began = time.monotonic()
    second.die()
    wait_until(lambda: first.who() == ["c1"], 15)
    wait_until(lambda: first.watcher.lists[-1] == ["c1"], 15 - (time.monotonic() - began))


def test_presence_is_right_5_seconds_after_redis_was_emptied(nodes: list[Node], server: RedisServer) -> None:
    first, second = nodes
    join(first, "c1")
    join(second, "c2", "c3")
    wait_until(lambda: first.who() == ["c1", "c2", "c3"])
    server.kill()
    second.presence.leave("a", "c3", SHOWN)
    join(second, "c4")
    gevent.sleep(1)
    server.start()
    wait_until(lambda: all(node.who() == ["c1", "c2", "c4"] for node in nodes), 5)


def test_nobody_leaves_because_redis_was_frozen(nodes: list[Node], server: RedisServer) -> None:
    """The signs of life of all nodes are too old when it goes on."""
    first, second = nodes
    first.watch()
    join(first, "c1")
    join(second, "c2")
    wait_until(lambda: first.who() == ["c1", "c2"])
    gevent.sleep(1)
    first.watcher.take()
    server.signal(signal.SIGSTOP)
    gevent.sleep(12)
    server.signal(signal.SIGCONT)
    until = time.monotonic() + 8
    while time.monotonic() < until:
        assert first.who() == ["c1", "c2"]
        gevent.sleep(0.2)
    assert first.watcher.take()[1] == []
    assert all(one == ["c1", "c2"] for one in first.watcher.lists[2:])


def test_values_of_other_applications_are_left_out(nodes: list[Node], server: RedisServer) -> None:
    first, _ = nodes
    join(first, "c1")
    wait_until(lambda: first.who() == ["c1"])
    key = first.presence.keys("a")[0]
    with server.client() as client:
        client.hset(key, "x", "rubbish")
        client.hset(key, "y", '{"client":5}')
        client.hset(key, "z", "[" * 10_000)
    assert first.who() == ["c1"]
    assert first.metrics["redis_malformed"] == 3


def test_the_hash_shows_who_is_online(nodes: list[Node], server: RedisServer) -> None:
    first, _ = nodes
    join(first, "c1")
    wait_until(lambda: first.who() == ["c1"])
    key = first.presence.keys("a")[0]
    found = server.say("HGETALL", key)
    node = first.broker.node
    assert found[b"c1"].decode() == f'{{"client":"c1","user":"user of c1","node":"{node}"}}'


def test_presence_is_right_again_after_redis_was_emptied_while_it_was_connected(
    nodes: list[Node], server: RedisServer
) -> None:
    """A node told its own members that they had left, and nobody was there any more."""
    first, second = nodes
    first.watch()
    join(first, "c1")
    join(second, "c2")
    wait_until(lambda: first.who() == ["c1", "c2"])
    gevent.sleep(1)
    first.watcher.take()
    server.say("FLUSHALL")
    assert first.who() == ["c1"]
    wait_until(lambda: first.who() == second.who() == ["c1", "c2"], 5)
    assert "c1" not in first.watcher.take()[1]
