"""The history in Redis, in a process with a patched standard library, like a server. `test_redis.py` runs this."""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from fws.base.metrics import Metrics
from fws.brokers.redis import RedisBroker
from fws.config import Channel
from fws.histories import scripts
from fws.histories.base import Span
from fws.histories.redis import RedisHistory
from fws.pipeline.publication import Position, Publication
from fws.redis.connector import Connector
from tests.brokers.contract import wait_until
from tests.histories.contract import KEPT, HistoryContract, Recorder
from tests.integration.redis_server import RedisServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture
def prefix() -> str:
    return f"{secrets.token_hex(4)}:"


class Node:
    """A broker, the history, and what it hands over."""

    def __init__(self, server: RedisServer, prefix: str, **options: Any) -> None:
        self.metrics = Metrics()
        settings: dict[str, Any] = {"prefix": prefix, "subscribe": [], "buffer": 2**20, "largest": 2**24} | options
        self.broker = RedisBroker(
            Connector(server.url), **settings, scripts=scripts.ALL, metrics=self.metrics, clock=time.monotonic
        )
        self.history = RedisHistory(self.broker, self.metrics)
        self.follower = Recorder()
        self.broker.start(self._deliver, lambda: False)
        self.history.start(self.follower)
        wait_until(lambda: self.broker.health() is None)

    def _deliver(self, publication: Publication) -> None:
        """As the channel service does."""
        if publication.offset:
            self.follower.arrived(publication)
        elif publication.origin == "outside":
            self.history.publish(publication, KEPT)

    def follow(self, channel: str, settings: Channel = KEPT) -> None:
        """Follow a channel, and wait until Redis has subscribed this node and the position is known."""
        before = len(self.follower.positions)
        self.broker.subscribe(channel)
        self.history.follow(channel, settings)
        wait_until(lambda: len(self.follower.positions) >= before + 2)

    def read(self, channel: str, after: Position | None = None, last: int = 100, settings: Channel = KEPT) -> list[Any]:
        pages: list[Any] = [None]
        until = time.monotonic() + 15
        while pages[-1] is None and time.monotonic() < until:
            # While Redis is away there is no answer.
            before = len(pages)
            self.history.read(channel, settings, after, last, pages.append)
            wait_until(lambda: len(pages) > before, 15)  # noqa: B023
            gevent.sleep(0.01)
        return [one.message for one in pages[-1].publications]

    @property
    def got(self) -> list[tuple[int, Any]]:
        return [(one.offset, one.message) for one in self.follower.publications]


class TestRedisHistory(HistoryContract):
    @pytest.fixture(autouse=True)
    def begin(self, server: RedisServer, prefix: str) -> Iterator[None]:
        self.server, self.prefix = server, prefix
        self.node = Node(server, prefix)
        self.history, self.follower = self.node.history, self.node.follower
        self.subscribed: set[str] = set()
        follow = self.history.follow

        def following(channel: str, settings: Channel) -> None:
            # As the channel service does.
            self.node.broker.subscribe(channel)
            follow(channel, settings)

        self.history.follow = following  # type: ignore[method-assign]
        yield
        self.node.broker.stop(0)

    def settle(self) -> None:
        """A read is answered after everything that was sent before."""
        for _ in range(2):
            done: list[Any] = []
            self.history.read("probe", KEPT, None, 1, done.append)
            wait_until(lambda: bool(done))  # noqa: B023
            gevent.sleep(0.05)

    def pass_time(self, seconds: float) -> None:
        gevent.sleep(seconds)

    def test_a_follower_is_told_once_more_when_redis_has_subscribed_it(self) -> None:
        self.history.follow("a", KEPT)
        self.settle()
        assert len(self.follower.positions) == 2


@pytest.fixture
def nodes(server: RedisServer, prefix: str) -> Iterator[list[Node]]:
    made = [Node(server, prefix) for _ in range(2)]
    yield made
    for node in made:
        node.broker.stop(0)


def publish(node: Node, channel: str, *messages: Any, settings: Channel = KEPT) -> None:
    for message in messages:
        node.history.publish(Publication(channel, message), settings)


def test_all_nodes_see_one_order(nodes: list[Node]) -> None:
    for node in nodes:
        node.follow("a")
    for number in range(200):
        publish(nodes[number % 2], "a", number)
        if number % 7 == 0:
            gevent.sleep(0.001)
    wait_until(lambda: all(len(node.got) == 200 for node in nodes))
    assert nodes[0].got == nodes[1].got
    assert [offset for offset, _ in nodes[0].got] == list(range(1, 201))
    for parity in (0, 1):
        mine = [message for _, message in nodes[0].got if message % 2 == parity]
        assert mine == sorted(mine)


def test_publications_of_one_turn_share_a_call(nodes: list[Node], server: RedisServer) -> None:
    nodes[0].follow("a")
    with server.client() as client:
        before = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        publish(nodes[0], "a", *range(500))
        wait_until(lambda: len(nodes[0].got) == 500)
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] - before <= 20


def test_a_plain_message_of_another_program_is_stored_once(nodes: list[Node], server: RedisServer, prefix: str) -> None:
    for node in nodes:
        node.follow("a")
    for number in range(50):
        server.say("PUBLISH", f"{prefix}a", "the same text")
        if number % 10 == 3:
            publish(nodes[number % 2], "a", "of fws")
    wait_until(lambda: all(len(node.got) >= 55 for node in nodes))
    gevent.sleep(0.1)
    for node in nodes:
        assert [offset for offset, _ in node.got] == list(range(1, 56))
        assert [message for _, message in node.got].count("the same text") == 50
    assert nodes[0].got == nodes[1].got


def test_a_plain_message_is_stored_once_while_a_node_comes(nodes: list[Node], server: RedisServer, prefix: str) -> None:
    """A node that has just subscribed does not know what the others have counted. A mark tells it."""
    first, second = nodes
    first.follow("a")
    for number in range(30):
        server.say("PUBLISH", f"{prefix}a", f"{number}")
        if number == 10:
            second.broker.subscribe("a")
            second.history.follow("a", KEPT)
    wait_until(lambda: len(first.got) == 30)
    gevent.sleep(0.1)
    assert [message for _, message in first.got] == [str(number) for number in range(30)]


def test_what_was_stored_without_an_answer_is_not_stored_again(nodes: list[Node], server: RedisServer) -> None:
    """Redis is frozen after it got the command. The node sends it again over a new connection."""
    node = nodes[0]
    node.follow("a")
    publish(node, "a", "before")
    wait_until(lambda: len(node.got) == 1)
    server.signal(signal.SIGSTOP)
    try:
        publish(node, "a", *range(20))
        gevent.sleep(3)  # the node gives up after 2 s
    finally:
        server.signal(signal.SIGCONT)
    publish(node, "a", "after")
    wait_until(lambda: "after" in node.read("a", last=1), 15)
    top = node.history.seen("a")
    assert top.offset == 22
    assert node.read("a") == [16, 17, 18, 19, "after"]


def test_each_publication_that_shares_a_call_is_told_its_position(nodes: list[Node]) -> None:
    first, second = nodes
    settings = Channel(history=1000)
    told: list[Position | None] = []
    for number in range(300):
        publish(second, "a", "between", settings=settings)
        first.history.publish(Publication("a", number), settings, told.append)
        if number % 50 == 49:
            gevent.sleep(0.001)
    wait_until(lambda: len(told) == 300 and len(first.read("a", last=1000, settings=settings)) == 600)
    messages = first.read("a", last=1000, settings=settings)
    assert [messages[at.offset - 1] for at in told if at is not None] == list(range(300))


def test_a_publication_that_was_stored_without_an_answer_is_told_its_position(
    nodes: list[Node], server: RedisServer
) -> None:
    """Redis is frozen after it got the command, and another node has published since. Equal messages do not mix."""
    node, other = nodes
    settings = Channel(history=100)
    publish(node, "a", "same", "same", settings=settings)
    wait_until(lambda: node.history.seen("a").offset == 2)
    told: list[Position | None] = []
    server.signal(signal.SIGSTOP)
    try:
        for message in ("same", "another", "same"):
            node.history.publish(Publication("a", message), settings, told.append)
        gevent.sleep(3)  # the node gives up after 2 s
    finally:
        server.signal(signal.SIGCONT)
    publish(other, "a", "same", "other", settings=settings)
    node.history.publish(Publication("a", "later"), settings, told.append)
    wait_until(lambda: len(told) == 4, 15)
    assert [at and at.offset for at in told[:3]] == [3, 4, 5]
    pages: list[Any] = []
    node.history.read("a", settings, None, 100, pages.append)
    wait_until(lambda: bool(pages))
    assert {one.offset: one.message for one in pages[0].publications}[told[3].offset] == "later"  # type: ignore[union-attr]


def test_a_publication_that_is_lost_says_so(nodes: list[Node], server: RedisServer, prefix: str) -> None:
    node = nodes[0]
    told: list[Position | None] = []
    node.history.publish(Publication("a", "x" * 2**24), KEPT, told.append)
    assert told == [None]
    server.say("SET", node.history.keys("b")[1], "mine")
    node.history.publish(Publication("b", "x"), KEPT, told.append)
    wait_until(lambda: told == [None, None])


def test_nothing_is_removed_while_redis_is_away(nodes: list[Node], server: RedisServer) -> None:
    node = nodes[0]
    server.signal(signal.SIGSTOP)
    try:
        wait_until(lambda: not node.broker.available, 10)
        told: list[Any] = []
        node.history.remove("a", KEPT, told.append)
        node.history.page("a", KEPT, Span(), told.append)
        assert told == [False, None]
    finally:
        server.signal(signal.SIGCONT)
    wait_until(lambda: node.broker.available, 15)


def restart(server: RedisServer) -> None:
    """Redis is killed and starts again without its data."""
    server.kill()
    server.start()


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("own"), "--appendonly", "yes", "--appendfsync", "always")
    yield server
    server.kill()


def test_a_redis_that_returns_with_its_data_goes_on_in_another_epoch(own: RedisServer) -> None:
    node = Node(own, "fws:")
    node.follow("a")
    publish(node, "a", "x", "y")
    wait_until(lambda: len(node.got) == 2)
    before = node.history.seen("a")
    restart(own)
    publish(node, "a", "z")
    wait_until(lambda: node.history.seen("a").epoch != before.epoch, 15)
    wait_until(lambda: node.history.seen("a").offset == 3, 15)
    pages: list[Any] = []
    node.history.read("a", KEPT, before, 0, pages.append)
    wait_until(lambda: bool(pages))
    assert ([one.message for one in pages[0].publications], pages[0].complete) == (["z"], True)
    assert node.follower.gaps == []
    for span, expected in ((Span(before), ["z"]), (Span(before, reverse=True), ["x"])):
        pages.clear()
        node.history.page("a", KEPT, span, pages.append)
        wait_until(lambda: bool(pages))
        assert ([one.message for one in pages[0].publications], pages[0].complete) == (expected, True)
    node.broker.stop(0)


def test_a_redis_that_has_lost_what_a_node_has_seen_tells_all_nodes(own: RedisServer) -> None:
    """As a replica that was promoted without the last writes: the same offsets would be given again."""
    nodes = [Node(own, "fws:") for _ in range(2)]
    for node in nodes:
        node.follow("a")
    publish(nodes[0], "a", "x", "y")
    wait_until(lambda: all(len(node.got) == 2 for node in nodes))
    epoch = nodes[0].history.seen("a").epoch
    # The first node alone has seen a third one.
    with own.client() as client:
        meta = nodes[0].history.keys("a")[1]
        stored = client.hgetall(meta)
        nodes[1].broker.unsubscribe("a")
        publish(nodes[0], "a", "lost")
        wait_until(lambda: len(nodes[0].got) == 3)
        client.hset(meta, mapping=stored)
        client.xtrim(nodes[0].history.keys("a")[0], minid="9", approximate=False)
        for node in nodes:
            node.history._place("a")
    wait_until(lambda: nodes[0].history.seen("a").epoch != epoch)
    pages: list[Any] = []
    nodes[1].history.read("a", KEPT, Position(epoch, 2), 0, pages.append)
    nodes[1].history.read("a", KEPT, Position(epoch, 3), 0, pages.append)
    wait_until(lambda: len(pages) == 2)
    assert [page.complete for page in pages] == [False, True]
    for node in nodes:
        node.broker.stop(0)


def test_an_emptied_redis_begins_anew(own: RedisServer) -> None:
    node = Node(own, "fws:")
    node.follow("a")
    publish(node, "a", "x")
    wait_until(lambda: len(node.got) == 1)
    before = node.history.seen("a")
    own.say("FLUSHALL")
    publish(node, "a", "y")
    wait_until(lambda: len(node.got) == 2)
    after = node.history.seen("a")
    assert after.epoch != before.epoch
    pages: list[Any] = []
    node.history.read("a", KEPT, before, 0, pages.append)
    wait_until(lambda: bool(pages))
    assert not pages[0].complete
    node.broker.stop(0)


def test_scripts_that_redis_has_forgotten_are_loaded_again(nodes: list[Node], server: RedisServer) -> None:
    node = nodes[0]
    node.follow("a")
    server.say("SCRIPT", "FLUSH")
    publish(node, "a", *range(10))
    wait_until(lambda: len(node.got) == 10)
    assert node.metrics["redis_outages"] == 0


def test_a_key_of_another_application_refuses_publications_and_nothing_else(
    nodes: list[Node], server: RedisServer, prefix: str
) -> None:
    node = nodes[0]
    server.say("SET", node.history.keys("a")[1], "mine")
    publish(node, "a", "x")
    publish(node, "b", "y")
    wait_until(lambda: node.read("b") == ["y"])
    assert node.metrics["redis_refused"] >= 1
    assert node.metrics["redis_outages"] == 0


def test_a_loss_that_nobody_has_noticed_is_found(
    nodes: list[Node], server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis has dropped this node's messages, for example because its output buffer was full."""
    monkeypatch.setattr("fws.histories.redis.LOOK", 1.0)
    late = Node(server, nodes[0].broker.name_of(None).decode())
    late.follow("a")
    late.history.heard = lambda publication: None  # type: ignore[method-assign]
    publish(nodes[0], "a", "missed")
    wait_until(lambda: late.follower.positions[-1][1].offset == 1, 5)
    late.broker.stop(0)


def test_waiting_bytes_are_counted_until_redis_has_answered(nodes: list[Node], server: RedisServer) -> None:
    node = nodes[0]
    server.signal(signal.SIGSTOP)
    try:
        publish(node, "a", *("x" * 1000 for _ in range(50)))
        assert node.follower.weight > 50_000
        # An outage must not keep publishers waiting.
        wait_until(lambda: node.follower.weight == 0, 10)
    finally:
        server.signal(signal.SIGCONT)
    wait_until(lambda: len(node.read("a")) == 5, 15)
    assert node.follower.weight == 0


def test_a_position_with_many_digits_does_not_stop_the_node(nodes: list[Node]) -> None:
    """Lua wrote the offset as 1e+15, Redis refused the command, and the node sent it again and again."""
    node = nodes[0]
    node.follow("a")
    publish(node, "a", "x")
    wait_until(lambda: len(node.got) == 1)
    epoch = node.history.seen("a").epoch
    for offset in (2, 10**13, 10**15, 10**18):
        assert node.read("a", Position(epoch, offset)) == []
    publish(node, "a", "y")
    wait_until(lambda: len(node.got) == 2)
    assert node.metrics["redis_outages"] == 0


def test_a_read_does_not_wait_for_a_redis_that_is_away(nodes: list[Node], server: RedisServer) -> None:
    """It took the place of publications in the buffer."""
    node = nodes[0]
    server.signal(signal.SIGSTOP)
    try:
        wait_until(lambda: not node.broker.available, 10)
        pages: list[Any] = []
        node.history.read("a", KEPT, None, 5, pages.append)
        assert pages == [None]
    finally:
        server.signal(signal.SIGCONT)
    wait_until(lambda: node.broker.available, 15)
