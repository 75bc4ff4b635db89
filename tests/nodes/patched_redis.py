"""Nodes at one Redis, in a process with a patched standard library, like a server. `test_redis.py` runs this."""

from __future__ import annotations

import json
import secrets
import signal
import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from fws.base.metrics import Metrics
from fws.brokers.redis import RedisBroker
from fws.config.channels import ChannelPattern
from fws.nodes.redis import ALL, RedisNodes, channel_of
from fws.redis.connector import Connector
from fws.runtime.scheduler import Scheduler
from tests.brokers.contract import wait_until
from tests.integration.redis_server import RedisServer
from tests.integration.test_redis_cluster import Nodes as Cluster
from tests.nodes.contract import NodesContract, Served


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.kill()


@pytest.fixture
def prefix() -> str:
    return f"{secrets.token_hex(4)}:"


class Node:
    """A broker, and the nodes as it sees them.

    Args:
        options: of the broker.
    """

    def __init__(self, server: RedisServer | Cluster, prefix: str, name: str, **options: Any) -> None:
        self.metrics = Metrics()
        self.published: list[Any] = []
        settings: dict[str, Any] = {"prefix": prefix, "subscribe": [], "buffer": 2**20, "largest": 2**24} | options
        self.broker = RedisBroker(Connector(server.url), **settings, metrics=self.metrics, clock=time.monotonic)
        self.nodes = RedisNodes(self.broker, Scheduler(), self.metrics)
        self.served = Served(name)
        self.broker.start(self.published.append, lambda: False)
        self.nodes.start(self.served)
        wait_until(lambda: self.broker.health() is None)

    def ask(self, request: dict[str, Any], timeout: float = 3.0) -> list[Any]:
        return self.nodes.ask(request, timeout=timeout)

    def names(self) -> list[str]:
        """The nodes that answer. It takes no longer than they need."""
        before = time.monotonic()
        found = sorted(answer["name"] for answer in self.nodes.ask({"do": "name"}))
        assert time.monotonic() - before < 1
        return found


def running(server: RedisServer | Cluster, prefix: str, count: int, **options: Any) -> list[Node]:
    nodes = [Node(server, prefix, f"{number}", **options) for number in range(count)]
    expected = [node.served.name for node in nodes]
    wait_until(lambda: all(node.names() == expected for node in nodes))
    for node in nodes:
        node.served.requests.clear()
    return nodes


class TestRedisNodes(NodesContract):
    @pytest.fixture(autouse=True, params=[1, 2, 3])
    def begin(self, server: RedisServer, prefix: str, request: pytest.FixtureRequest) -> Iterator[None]:
        made = running(server, prefix, request.param)
        self.nodes = [node.nodes for node in made]
        self.served = [node.served for node in made]
        yield
        for node in made:
            node.broker.stop(0)


class TestNodesInACluster(NodesContract):
    @pytest.fixture(autouse=True)
    def begin(self, cluster: Cluster, prefix: str) -> Iterator[None]:
        made = running(cluster, prefix, 3)
        self.nodes = [node.nodes for node in made]
        self.served = [node.served for node in made]
        yield
        for node in made:
            node.broker.stop(0)


@pytest.fixture
def nodes(server: RedisServer, prefix: str) -> Iterator[list[Node]]:
    made = running(server, prefix, 2)
    yield made
    for node in made:
        node.broker.stop(0)


def test_a_node_that_hangs_is_waited_for_until_the_time_is_over(
    nodes: list[Node], server: RedisServer, prefix: str
) -> None:
    """It has subscribed to the channels of a node, and never answers."""
    with server.client() as client, client.pubsub() as frozen:
        frozen.subscribe(prefix + ALL, prefix + channel_of("frozen"))
        frozen.get_message(timeout=5)
        before = time.monotonic()
        assert len(nodes[0].ask({"do": "name"}, 0.5)) == 2
        assert 0.5 <= time.monotonic() - before < 1.5
        assert nodes[0].metrics["node_answers_missing"] == 1
        told: list[bool] = []
        nodes[0].nodes.tell("frozen", {"do": "note"}, told.append)
        wait_until(lambda: bool(told), 5)
        assert told == [False]
    wait_until(lambda: nodes[0].names() == ["0", "1"])


def test_a_node_that_has_ended_is_not_waited_for(nodes: list[Node]) -> None:
    nodes[1].broker.stop(0)
    wait_until(lambda: nodes[0].ask({"do": "name"}, 0.2) == [{"name": "0"}] and nodes[0].names() == ["0"])
    told: list[bool] = []
    nodes[0].nodes.tell(nodes[1].nodes.id, {"do": "note"}, told.append)
    wait_until(lambda: bool(told), 1)
    assert told == [False]


def test_a_node_that_fails_has_no_answer_and_is_not_waited_for(nodes: list[Node]) -> None:
    first, second = nodes
    first.served.name = "first"
    with pytest.raises(RuntimeError):
        first.ask({"do": "fail"})
    wait_until(lambda: second.metrics["node_faults"] == 1)
    first.nodes.tell(second.nodes.id, {"do": "fail"}, lambda received: None)
    wait_until(lambda: second.metrics["node_faults"] == 2)


def test_an_answer_that_is_too_large_is_left_out(server: RedisServer, prefix: str) -> None:
    nodes = running(server, prefix, 2, largest=100_000)
    nodes[1].served = nodes[1].nodes._answer = lambda request: "x" * 100_000  # type: ignore[assignment]
    before = time.monotonic()
    assert nodes[0].ask({"do": "name"}) == [{"name": "0"}]
    assert time.monotonic() - before < 1
    assert nodes[1].metrics["node_faults"] == 1
    for node in nodes:
        node.broker.stop(0)


def test_patterns_that_match_the_channels_of_nodes_change_nothing(server: RedisServer, prefix: str) -> None:
    """Redis counts a subscriber once for each pattern. All requests took 3 s, and who was not there was told."""
    nodes = running(server, prefix, 2, subscribe=["*", f"{prefix}*"])
    for node in nodes:
        node.broker.feed(ChannelPattern.parse("*"), lambda name: "*")
    gevent.sleep(0.3)
    assert nodes[0].names() == ["0", "1"]
    told: list[bool] = []
    nodes[0].nodes.tell(nodes[1].nodes.id, {"do": "note"}, told.append)
    nodes[0].nodes.tell("another", {"do": "note"}, told.append)
    wait_until(lambda: len(told) == 2, 5)
    assert told == [True, False]
    assert [request["do"] for request in nodes[1].served.requests if request["do"] == "note"] == ["note"]
    for node in nodes:
        assert node.metrics["redis_malformed"] == 0
        assert node.published == []
        node.broker.stop(0)


def test_while_redis_is_away_a_node_is_alone_and_does_not_wait(nodes: list[Node], server: RedisServer) -> None:
    first = nodes[0]
    server.signal(signal.SIGSTOP)
    try:
        # The first request finds out.
        before = time.monotonic()
        assert first.ask({"do": "name"}, 10) == [{"name": "0"}]
        assert time.monotonic() - before < 8
        told: list[bool] = []
        first.nodes.tell(nodes[1].nodes.id, {"do": "note"}, told.append)
        wait_until(lambda: bool(told), 8)
        wait_until(lambda: first.nodes.health() is not None, 10)
        before = time.monotonic()
        assert first.ask({"do": "name"}) == [{"name": "0"}]
        first.nodes.tell(nodes[1].nodes.id, {"do": "note"}, told.append)
        assert told == [False, False]
        assert time.monotonic() - before < 0.5
    finally:
        server.signal(signal.SIGCONT)
    wait_until(lambda: all(node.nodes.health() is None for node in nodes), 20)
    wait_until(lambda: first.names() == ["0", "1"], 10)


def test_what_waited_for_redis_is_not_served_later(server: RedisServer, prefix: str) -> None:
    """A client would be closed minutes after the operator was told that it could not be."""
    nodes = running(server, prefix, 2)
    first, second = nodes
    server.kill()
    first.nodes._broker._health._reasons.clear()
    asking = gevent.spawn(first.ask, {"do": "only", "name": "1"}, 20)
    told: list[bool] = []
    first.nodes.tell(second.nodes.id, {"do": "note"}, told.append)
    assert asking.get(timeout=10) == []
    wait_until(lambda: told == [False], 5)
    server.start()
    wait_until(lambda: first.nodes.health() is None and second.nodes.health() is None, 20)
    wait_until(lambda: first.names() == ["0", "1"], 10)
    assert {request["do"] for request in second.served.requests} == {"name"}
    for node in nodes:
        node.broker.stop(0)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b'{"id":"a"}',
        b'{"id":"a","node":""}',
        b'{"id":"a","node":"b c"}',
        b'{"id":"\\u0000","node":"b"}',
        b'{"id":"a","node":"b","request":[]}',
        b'{"id":"a","node":"b","request":"do"}',
        b'{"id":"a","node":"b","copies":0}',
        b'{"id":"a","node":"b","copies":1e9}',
        b'{"id":"' + b"a" * 65 + b'","node":"b"}',
        b'{"id":"a","node":"b","request":' + b'{"a":' * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_message_of_a_node_is_counted_and_nothing_else(
    nodes: list[Node], server: RedisServer, prefix: str, content: bytes
) -> None:
    for channel in (ALL, channel_of(nodes[0].nodes.id)):
        server.say("PUBLISH", prefix + channel, b"\0fws!" + content)
    wait_until(lambda: nodes[0].metrics["redis_malformed"] == 2)
    assert nodes[0].names() == ["0", "1"]
    assert [request["do"] for request in nodes[0].served.requests] == ["name"]


def test_messages_of_other_kinds_on_the_channels_of_nodes_are_counted(
    nodes: list[Node], server: RedisServer, prefix: str
) -> None:
    for payload in (b"hello", b'\0fws1{"node":"x"}\nhi', b""):
        server.say("PUBLISH", prefix + ALL, payload)
    wait_until(lambda: nodes[0].metrics["redis_malformed"] == 3)
    assert nodes[0].published == []


def test_answers_that_nobody_has_asked_for_are_ignored(nodes: list[Node], server: RedisServer, prefix: str) -> None:
    mine = prefix + channel_of(nodes[0].nodes.id)
    for answer in ({"id": "x", "node": "y", "answer": 1}, {"id": "x", "node": "y"}):
        server.say("PUBLISH", mine, "\0fws!" + json.dumps(answer))
    assert nodes[0].names() == ["0", "1"]
    assert nodes[0].metrics["redis_malformed"] == 0


def test_more_requests_than_can_be_served_are_dropped(nodes: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fws.nodes.redis.MOST", 3)
    for _ in range(10):
        nodes[0].nodes.tell(nodes[1].nodes.id, {"do": "slow"}, lambda received: None)
    wait_until(lambda: nodes[1].metrics["node_requests_dropped"] > 0)
    wait_until(lambda: nodes[1].nodes._serving == 0)
    assert nodes[0].names() == ["0", "1"]
