"""The Redis broker in a process with a patched standard library, like a server. `test_redis.py` runs this."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gevent
import pytest

from fws.base.metrics import Metrics
from fws.brokers.redis import RedisBroker
from fws.pipeline.publication import Publication
from fws.redis.connector import Connector
from tests.brokers.contract import Contract, Node, wait_until
from tests.integration.redis_server import RedisServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    # Redis itself cuts off who does not take 32 MiB at once, which is another fault.
    limit = ("--client-output-buffer-limit", "pubsub 256mb 128mb 60")
    server = RedisServer(tmp_path_factory.mktemp("redis"), *limit)
    yield server
    server.kill()


def broker(server: RedisServer, **options: Any) -> tuple[RedisBroker, Metrics]:
    metrics = Metrics()
    settings: dict[str, Any] = {"prefix": "fws:", "subscribe": [], "buffer": 2**20, "largest": 2**24} | options
    made = RedisBroker(Connector(server.url), **settings, metrics=metrics, clock=time.monotonic)
    return made, metrics


@pytest.fixture
def prefix() -> str:
    return f"{secrets.token_hex(4)}:"


class TestRedis(Contract):
    @pytest.fixture
    def make(self, server: RedisServer, prefix: str) -> Iterator[None]:
        made = [broker(server, prefix=prefix) for _ in range(2)]
        self.nodes = [Node(one) for one, _ in made]
        self.metrics = [metrics for _, metrics in made]
        self.server = server
        self.prefix = prefix
        yield
        for node in self.nodes:
            node.broker.stop(0)

    def channels(self) -> set[str]:
        found = self.server.say("PUBSUB", "CHANNELS", f"{self.prefix}*")
        return {name.decode().removeprefix(self.prefix) for name in found}

    def test_a_node_subscribes_exactly_to_channels_with_members(self) -> None:
        assert self.channels() == {"", "lobby"}
        node = self.nodes[0].broker
        for number in range(1000):
            node.subscribe(str(number))
        wait_until(lambda: len(self.channels()) == 1002)
        for number in range(1000):
            node.unsubscribe(str(number))
        assert len(self.channels()) == 1002
        wait_until(lambda: self.channels() == {"", "lobby"})

    @pytest.mark.parametrize(
        ("payload", "message"), [("hello", "hello"), (b"\xff\xfe", b"\xff\xfe"), ("[" * 10_000, "[" * 10_000)]
    )
    def test_other_applications_publish_too(self, payload: str | bytes, message: str | bytes) -> None:
        self.server.say("PUBLISH", f"{self.prefix}lobby", payload)
        self.arrived(1)
        assert [node.got[0] for node in self.nodes] == [Publication("lobby", message, origin="outside")] * 2

    def test_garbage_is_counted_and_the_relay_goes_on(self) -> None:
        """Fault: one payload that was not UTF-8 ended the relay, and nothing was delivered any more."""
        name = f"{self.prefix}lobby"
        with self.server.client() as client:
            client.publish(name, b"\0fws1{}\nforged")
            client.publish(name, b"\0fws9")
            client.publish(name, b'\0fws1{"node":"x","type":"json"}\n' + b"[" * 100_000)
            client.publish(f"{self.prefix}\xff", b"no channel")
            client.publish(name, b"x" * (64 * 2**20))
            client.publish(name, "after")
        self.arrived(1)
        assert self.nodes[1].messages == ["after"]
        assert (self.metrics[1]["redis_malformed"], self.metrics[1]["redis_oversized"]) == (3, 1)
        assert self.metrics[1]["redis_gaps"] == 0

    def test_a_publication_that_is_too_large_is_not_sent(self) -> None:
        self.publish(Publication("lobby", "x" * 2**24), Publication("lobby", "next"))
        wait_until(lambda: self.nodes[1].messages == ["next"])
        assert self.metrics[0]["redis_oversized"] == 1

    def test_whatever_delivery_raises_the_relay_goes_on(self) -> None:
        """An exception, and the exceptions that end a greenlet."""
        deliver = self.nodes[1]._deliver

        def failing(publication: Publication) -> None:
            if publication.message == "exit":
                raise gevent.GreenletExit
            if publication.message == "fail":
                raise RuntimeError("a bug")
            deliver(publication)

        self.nodes[1].broker._deliver = failing  # type: ignore[attr-defined]
        self.publish(*(Publication("lobby", word) for word in ("fail", "exit")))

        def again() -> bool:
            self.publish(Publication("lobby", "again"))
            return "again" in self.nodes[1].messages

        wait_until(again)

    def test_a_crowded_hub_is_given_no_more(self, server: RedisServer, prefix: str) -> None:
        crowded = [True]
        reader, _ = broker(server, prefix=prefix)
        got: list[Publication] = []
        reader.start(got.append, lambda: crowded[0])
        try:
            reader.subscribe("lobby")
            crowded[0] = False
            wait_until(lambda: reader.health() is None)
            gevent.sleep(0.1)
            crowded[0] = True
            self.publish(*(Publication("lobby", str(number)) for number in range(100)))
            wait_until(lambda: len(self.nodes[1].got) == 100)
            assert len(got) <= 1
            crowded[0] = False
            wait_until(lambda: len(got) == 100)
        finally:
            reader.stop(0)


def test_stopping_a_node_does_not_count_as_an_outage(server: RedisServer, prefix: str) -> None:
    """Fault: when it was stopped while messages arrived, it logged that Redis is away: "bad file descriptor"."""
    noisy, _ = broker(server, prefix=prefix)
    noisy.start(lambda publication: None, lambda: False)

    def talk() -> None:
        while True:
            for _ in range(8):
                noisy.publish(Publication("lobby", "x" * 1000))
            gevent.sleep(0)

    talking = gevent.spawn(talk)
    try:
        for _ in range(8):
            node, metrics = broker(server, prefix=prefix)
            got: list[Publication] = []
            node.start(got.append, lambda: False)
            node.subscribe("lobby")
            wait_until(partial(bool, got))
            node.stop(1)
            gevent.sleep(0.01)
            assert metrics["redis_outages"] == 0
    finally:
        talking.kill()
        noisy.stop(0)


def test_other_applications_channels(server: RedisServer, prefix: str) -> None:
    """Each message arrives once, however many names and patterns it matches."""
    names = ["global", "orders.*", "orders.new.*", "*.new.de", "orders.first", "*"]
    made, _ = broker(server, prefix=prefix, subscribe=names)
    node = Node(made)
    try:
        made.subscribe("lobby")
        wait_until(lambda: made.health() is None)
        gevent.sleep(0.1)
        other = f"{prefix}lobby"
        for name in ("global", "orders.new.de", "orders.first", "else", other):
            server.say("PUBLISH", name, "x")
        server.say("PUBLISH", "global", b'\0fws1{"node":"another","sender":"ann"}\nhello')
        wait_until(lambda: len(node.got) >= 6)
        gevent.sleep(0.05)
        assert [publication.channel for publication in node.got] == [
            "global",
            "orders.new.de",
            "orders.first",
            "else",
            "lobby",
            "global",
        ]
        assert {publication.origin for publication in node.got} == {"outside"}
        assert node.got[-1].message == "hello"
    finally:
        made.stop(0)


def test_the_buffer_is_bounded(tmp_path: Path) -> None:
    """While Redis is away, the oldest publications are dropped and counted. The publisher's own node gets all."""
    server = RedisServer(tmp_path, start=False)
    made, metrics = broker(server, buffer=10_000)
    node = Node(made)
    try:
        wait_until(lambda: made.health() not in (None, f"Redis redis://127.0.0.1:{server.port}: not reached yet"))
        for number in range(100):
            made.publish(Publication("lobby", f"{number} " + "x" * 1000))
        assert len(node.got) == 100
        server.start()
        with server.client() as client:
            ear = client.pubsub()
            ear.subscribe("fws:lobby")
            wait_until(lambda: made.health() is None)
            wait_until(lambda: metrics["redis_published"] > 0)
            found = []
            while (message := ear.get_message(timeout=0.2)) is not None:
                if message["type"] == "message":
                    found.append(int(message["data"].partition(b"\n")[2].split()[0]))
            ear.close()
        assert found == list(range(100 - len(found), 100))
        assert 5 <= len(found) <= 10
        assert metrics["redis_dropped"] == 100 - len(found)
    finally:
        made.stop(0)
        server.kill()


def test_names_of_other_applications_may_have_any_characters(server: RedisServer, prefix: str) -> None:
    """The answer to their subscription ended the relay."""
    made, _ = broker(server, prefix=prefix, subscribe=["日本", "x"])
    node = Node(made)
    try:
        wait_until(lambda: made.health() is None)
        server.say("PUBLISH", "日本", "hello")
        wait_until(lambda: node.messages == ["hello"])
    finally:
        made.stop(0)
