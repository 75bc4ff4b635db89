"""Two nodes with one configuration: publications on one node, their filters on both, and publications from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fws.base.timers import Timers
from fws.testing.bus import Bus, BusBroker, BusHistory, BusNodes, BusPresence
from tests.support import Clock, Harness, build


class Nodes:
    """Two harnesses on one bus."""

    def __init__(self, toml: str, folder: Path) -> None:
        self.clock = Clock(1000.0)
        self.bus = Bus(self.clock, Timers())
        self.first, self.second = (self._node(toml, folder) for _ in range(2))

    def _node(self, toml: str, folder: Path) -> Harness:
        bus = self.bus
        parts: Any = {"history": BusHistory(bus), "presence": BusPresence(bus), "nodes": BusNodes(bus)}
        return build(toml, folder, broker=BusBroker(bus), **parts)

    def settle(self) -> None:
        for _ in range(100):
            self.first.settle()
            self.second.settle()
            if not self.bus.turn():
                return
        raise AssertionError("publications go round and round")


def joined(channel: str) -> str:
    return f'connect = ["join {channel}"]\n'


def test_members_on_both_nodes_get_it_once_except_the_excluded_client(tmp_path: Path) -> None:
    nodes = Nodes("[pipelines]\n" + joined("lobby") + 'message = ["broadcast lobby to=others"]', tmp_path)
    a, b, c = nodes.first.connect(), nodes.first.connect(), nodes.second.connect()
    nodes.first.client_says(a, "hello")
    nodes.settle()
    assert (nodes.first.sent(a), nodes.first.sent(b), nodes.second.sent(c)) == ([], ["hello"], ["hello"])
    nodes.second.client_says(c, "hi")
    nodes.settle()
    assert (nodes.first.sent(a), nodes.first.sent(b), nodes.second.sent(c)) == (["hi"], ["hi"], [])


def test_a_node_hears_channels_from_their_first_to_their_last_member(tmp_path: Path) -> None:
    nodes = Nodes("[pipelines]\n" + joined("lobby"), tmp_path)
    broker = nodes.bus.nodes[0]
    a, b = nodes.first.connect(), nodes.first.connect()
    assert broker.channels == {None, "lobby"}
    a.leave("lobby")
    assert broker.channels == {None, "lobby"}
    nodes.first.leave(b)
    assert broker.channels == {None}


@pytest.mark.parametrize("waits", [False, True])
def test_publications_of_a_publication_filter_are_sent_once(tmp_path: Path, waits: bool) -> None:
    """Fault: the filter of each node published it for all, so that members got it once for each node."""
    folder = tmp_path / "pipelines"
    folder.mkdir()
    (folder / "slow.py").write_text(
        "import gevent\nfrom fws import Filter\n\nclass Slow(Filter):\n"
        "    def publication(self, publication):\n        gevent.sleep(0)\n"
    )
    stages = '"slow", "publish log"' if waits else '"publish log"'
    toml = f"[pipelines]\nmessage = ['broadcast lobby']\npublication = [{stages}]\n"
    nodes = Nodes(toml, tmp_path)
    listeners = [nodes.first.connect(), nodes.second.connect()]
    for client in listeners:
        client.join("log")
        client.join("lobby")
    nodes.first.client_says(listeners[0], "hello")
    nodes.settle()
    for harness, client in zip((nodes.first, nodes.second), listeners, strict=True):
        assert sorted(harness.sent(client)) == ["hello", "hello"]  # as member of lobby, and of log


def test_a_node_without_members_still_sends_publications_of_its_filter(tmp_path: Path) -> None:
    nodes = Nodes('[pipelines]\nmessage = ["broadcast lobby"]\npublication = ["publish log"]\n', tmp_path)
    speaker, listener = nodes.first.connect(), nodes.second.connect()
    listener.join("log")
    nodes.first.client_says(speaker, "hello")
    nodes.settle()
    assert nodes.second.sent(listener) == ["hello"]


def test_another_applications_message_is_passed_on_by_each_node_to_its_own_members(tmp_path: Path) -> None:
    toml = '[pipelines]\nconnect = ["join log"]\npublication = ["publish log"]\n'
    nodes = Nodes(toml, tmp_path)
    a, b = nodes.first.connect(), nodes.second.connect()
    for node in nodes.bus.nodes:
        node.subscribe("orders")
    for node in nodes.bus.nodes:
        node.take("orders", b"new")
    nodes.settle()
    assert (nodes.first.sent(a), nodes.second.sent(b)) == (["new"], ["new"])


def test_deliver_filters_publish_for_their_own_receivers_and_loops_end(tmp_path: Path) -> None:
    """Two nodes that answer each other's deliveries: what a `deliver` filter publishes belongs to one receiver."""
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "answer.py").write_text(
        "from fws import Filter\n\nclass Answer(Filter):\n    waits = False\n\n"
        "    def deliver(self, client, publication):\n        self.hub.publish('lobby', publication.message + 1)\n"
    )
    nodes = Nodes("[pipelines]\n" + joined("lobby") + "deliver = ['answer']\n", tmp_path)
    a, b = nodes.first.connect(), nodes.second.connect()
    nodes.first.channels.publish("lobby", 1)
    nodes.settle()
    assert nodes.first.sent(a)[:2] == ["1", "2"]
    assert set(nodes.second.sent(b)) == {str(number) for number in range(1, 9)}
    assert nodes.first.faults + nodes.second.faults > 0


def test_a_filters_fault_ends_that_publication_alone(tmp_path: Path) -> None:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "strict.py").write_text(
        "from fws import Filter\n\nclass Strict(Filter):\n    waits = False\n\n"
        "    def publication(self, publication):\n"
        "        return publication.replace(message=publication.message.upper())\n"
    )
    nodes = Nodes("[pipelines]\n" + joined("lobby") + "publication = ['strict']\n", tmp_path)
    client = nodes.first.connect()
    nodes.bus.nodes[0].take("lobby", b"\xff\xfe")
    nodes.bus.nodes[0].take("lobby", b"text")
    nodes.bus.nodes[0].take("lobby", b'\0fws1{"node":"x","type":"json"}\n7')
    nodes.bus.nodes[0].take("lobby", b"more")
    assert nodes.first.sent(client) == [b"\xff\xfe", "TEXT", "MORE"]
    assert nodes.first.faults == 1
