"""What every broker guarantees. A class with this mixin defines how to make connected nodes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gevent
import pytest

from fws.brokers.base import Broker
from fws.pipeline.publication import Publication
from fws.wire.encoding import payload_of
from tests.support import in_hub


class Node:
    """A broker and what it has delivered."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.got: list[Publication] = []
        broker.start(self._deliver, lambda: False)

    def _deliver(self, publication: Publication) -> None:
        payload_of(publication.message)  # as a hub does
        self.got.append(publication)

    @property
    def messages(self) -> list[Any]:
        return [publication.message for publication in self.got]


def wait_until(condition: Callable[[], bool], timeout: float = 5) -> None:
    until = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < until, "it does not happen"
        gevent.sleep(0.005)


class Contract:
    """Tests with `self.nodes`, which the fixture `make` sets. The first one publishes, and all are connected."""

    nodes: list[Node]

    @pytest.fixture(autouse=True)
    def hearing(self, make: None) -> None:
        for node in self.nodes:
            node.broker.subscribe("lobby")
        for number, node in enumerate(self.nodes):
            wait_until(lambda node=node: node.broker.health() is None)  # type: ignore[misc]

            def heard(number: int = number, node: Node = node) -> bool:
                node.broker.publish(Publication("lobby", f"probe {number}"))
                gevent.sleep(0.01)
                return all(f"probe {number}" in other.messages for other in self.nodes)

            wait_until(heard)
        gevent.sleep(0.05)
        for node in self.nodes:
            node.got.clear()

    def publish(self, *publications: Publication) -> None:
        for publication in publications:
            self.nodes[0].broker.publish(publication)

    def arrived(self, count: int) -> None:
        """Wait until every node has this many, and check that no more follow."""
        wait_until(lambda: all(len(node.got) >= count for node in self.nodes))
        gevent.sleep(0.02)
        assert [len(node.got) for node in self.nodes] == [count] * len(self.nodes)

    def test_the_publishers_node_has_it_before_publish_returns(self) -> None:
        publication = Publication("lobby", "hello")
        self.publish(publication)
        assert self.nodes[0].got == [publication]

    def test_every_node_gets_each_once_and_in_order(self) -> None:
        self.publish(*(Publication("lobby", str(number)) for number in range(3000)))
        self.arrived(3000)
        for node in self.nodes:
            assert node.messages == [str(number) for number in range(3000)]

    @pytest.mark.parametrize("message", ["é\0", "", b"\xff\0", b"", {"a": [1, None, "b"]}, [], 1.5, None, False])
    def test_messages_arrive_as_they_are(self, message: Any) -> None:
        self.publish(Publication("lobby", message, "ann", "bob"))
        self.arrived(1)
        for node in self.nodes:
            (found,) = node.got
            assert (found.channel, found.message, found.sender, found.exclude) == ("lobby", message, "ann", "bob")
            assert type(found.message) is type(message)

    def test_everyone_is_heard_without_asking(self) -> None:
        self.publish(Publication(None, "all"))
        self.arrived(1)
        assert all(node.got[0].channel is None for node in self.nodes)

    @pytest.mark.parametrize("channel", ["a b", "x]", "fws:", "ü" * 100, "{x}"])
    def test_any_channels_name(self, channel: str) -> None:
        self.publish(Publication("lobby", "first"))
        for node in self.nodes:
            node.broker.subscribe(channel)
        gevent.sleep(0.1)
        self.publish(Publication(channel, "second"))
        self.arrived(2)
        assert all(node.got[1].channel == channel for node in self.nodes)

    def test_a_value_that_json_cannot_represent_reaches_nobody(self) -> None:
        with pytest.raises(TypeError):
            self.publish(Publication("lobby", {1j}))
        self.publish(Publication("lobby", "next"))
        self.arrived(1)

    def test_a_message_of_a_mebibyte(self) -> None:
        self.publish(Publication("lobby", "x" * 2**20))
        self.arrived(1)

    def test_nothing_waits(self) -> None:
        """Called in the event loop, where blocking calls fail."""

        def call() -> None:
            broker = self.nodes[0].broker
            broker.subscribe("other")
            broker.publish(Publication("lobby", "x"))
            broker.unsubscribe("other")
            broker.health()

        in_hub(call)
        self.arrived(1)

    def test_stop_sends_pending_publications(self) -> None:
        self.publish(*(Publication("lobby", str(number)) for number in range(500)))
        self.nodes[0].broker.stop(2)
        self.arrived(500)
