"""Channels with history: what members receive when they join, return, or fall behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fws.clients.client import Client
from fws.config import Channel, ChannelRules
from fws.histories.base import Page
from fws.pipeline.publication import Position, Publication
from tests.channels.test_nodes import Nodes
from tests.support import Harness, Peer, build

CONF = """
[channels."lobby"]
history = 5
[endpoints."/raw"]
connect = ["join lobby"]
[endpoints."/replay"]
connect = ["join lobby replay=3"]
[endpoints."/last"]
connect = ["join lobby replay=last"]
[endpoints."/positions"]
positions = true
connect = ["join lobby since=request.query.since"]
[endpoints."/both"]
positions = true
connect = ["join lobby replay=2 since=request.query.since"]
[endpoints."/ask"]
positions = true
message = ["json", "join lobby since=message.since"]
[endpoints."/deliver"]
positions = true
connect = ["join lobby replay=5"]
deliver = ["when message != '3'"]
"""


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return build(CONF, tmp_path)


def publish(harness: Harness, *messages: Any) -> None:
    for message in messages:
        harness.channels.publish("lobby", message)
    harness.settle()


def got(harness: Harness, client: Client) -> list[Any]:
    """What a client with positions has received: messages with their offsets, gaps and positions."""
    found: list[Any] = []
    for text in harness.sent(client):
        one = json.loads(text)
        if "type" in one:
            found.append(f"{one['type']} {one['offset']}")
        else:
            found.append((one["offset"], one.get("message", one.get("base64"))))
    return found


def since(harness: Harness, offset: int) -> str:
    """A position in the present epoch."""
    pages: list[Page] = []
    harness.node.history.read("lobby", Channel(history=5), None, 0, pages.append)  # type: ignore[arg-type]
    return f"{pages[0].top.epoch}:{offset}"


def test_a_raw_client_gets_messages_as_they_are(harness: Harness) -> None:
    client = harness.connect("/raw")
    publish(harness, "text", {"a": 1}, b"\x00")
    assert harness.sent(client) == ["text", '{"a":1}', b"\x00"]


def test_replay_sends_the_newest_first_and_last_the_latest_value(harness: Harness) -> None:
    publish(harness, *"123456")
    assert harness.sent(harness.connect("/raw")) == []
    assert harness.sent(harness.connect("/replay")) == ["4", "5", "6"]
    assert harness.sent(harness.connect("/last")) == ["6"]


def test_with_positions_each_publication_has_its_offset(harness: Harness) -> None:
    client = harness.connect("/positions")
    publish(harness, "a", {"b": 1}, b"\x00", '{"c":2}')
    assert got(harness, client) == ["position 0", (1, "a"), (2, {"b": 1}), (3, "AA=="), (4, '{"c":2}')]
    client.send("directly")
    assert harness.sent(client) == ["directly"]


def test_a_client_whose_handshake_is_not_over_is_not_slow(tmp_path: Path) -> None:
    """Fault: with slow = "latest", a message before `join` in `connect` cut a recovery to its newest publication."""
    conf = """
    [channels."lobby"]
    history = 5
    slow = "latest"
    [endpoints."/"]
    positions = true
    connect = ["reply hello", "join lobby since=request.query.since"]
    """
    harness = build(conf, tmp_path)
    publish(harness, *"123")
    client = harness.connect("/?since=another:1")
    hello, *rest = harness.sent(client)
    assert hello == "hello"
    assert [json.loads(one).get("message", "gap") for one in rest] == ["gap", "1", "2", "3"]


def test_a_returning_client_gets_what_it_missed_and_goes_on(harness: Harness) -> None:
    publish(harness, *"1234")
    client = harness.connect(f"/positions?since={since(harness, 2)}")
    publish(harness, "5")
    assert got(harness, client) == [(3, "3"), (4, "4"), (5, "5")]


def test_a_client_that_missed_nothing_learns_its_position(harness: Harness) -> None:
    publish(harness, *"12")
    client = harness.connect(f"/positions?since={since(harness, 2)}")
    assert got(harness, client) == ["position 2"]


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        ("{epoch}:1", ["gap 3", (4, "4"), (5, "5"), (6, "6"), (7, "7"), (8, "8")]),
        ("{epoch}:9", ["gap 8"]),
        ("another:5", ["gap 3", (4, "4"), (5, "5"), (6, "6"), (7, "7"), (8, "8")]),
        ("rubbish", ["gap 3", (4, "4"), (5, "5"), (6, "6"), (7, "7"), (8, "8")]),
    ],
)
def test_what_cannot_be_recovered_is_a_gap(harness: Harness, position: str, expected: list[Any]) -> None:
    publish(harness, *"12345678")
    epoch = since(harness, 0).partition(":")[0]
    client = harness.connect(f"/positions?since={position.format(epoch=epoch)}")
    assert got(harness, client) == expected
    assert harness.metrics["gaps"] == 1


def test_after_a_gap_replay_bounds_what_follows(harness: Harness) -> None:
    publish(harness, *"12345678")
    assert got(harness, harness.connect("/both?since=another:5")) == ["gap 6", (7, "7"), (8, "8")]
    assert got(harness, harness.connect("/both")) == [(7, "7"), (8, "8")]
    assert got(harness, harness.connect(f"/both?since={since(harness, 4)}")) == [
        (5, "5"),
        (6, "6"),
        (7, "7"),
        (8, "8"),
    ]


def test_a_message_can_ask_for_a_channel_from_a_position(harness: Harness) -> None:
    publish(harness, *"123")
    client = harness.connect("/ask")
    harness.client_says(client, json.dumps({"since": since(harness, 1)}))
    assert got(harness, client) == [(2, "2"), (3, "3")]
    harness.client_says(client, json.dumps({"since": since(harness, 1)}))
    assert got(harness, client) == []  # it is a member already


@pytest.mark.parametrize("wrong", ["7", "null", "[]", '{"a":1}', '"x"'])
def test_a_position_of_another_kind_is_none_or_a_gap(harness: Harness, wrong: str) -> None:
    publish(harness, "1")
    client = harness.connect("/ask")
    harness.client_says(client, f'{{"since":{wrong}}}')
    assert got(harness, client) in (["position 1"], ["gap 0", (1, "1")])
    assert harness.faults == 0


def test_deliver_filters_see_recovered_publications_too(harness: Harness) -> None:
    publish(harness, *"12345")
    assert got(harness, harness.connect("/deliver")) == [(1, "1"), (2, "2"), (4, "4"), (5, "5")]


def test_a_channel_without_history_answers_a_position_with_a_gap(tmp_path: Path) -> None:
    harness = build('[pipelines]\nconnect = ["join lobby since=request.query.since"]\n', tmp_path)
    client = harness.connect("/?since=a:1")
    assert harness.sent(client) == ['{"type":"gap","channel":"lobby","epoch":"","offset":0}']
    harness.channels.publish("lobby", "x")
    assert harness.sent(client) == ["x"]


def test_publication_filters_decide_what_is_kept(tmp_path: Path) -> None:
    toml = CONF + '[pipelines]\npublication = ["when message != \'secret\'", "censor"]\n'
    censor = (
        "from fws import Filter\nclass Censor(Filter):\n    waits = False\n"
        "    def publication(self, publication):\n"
        "        return publication.replace(message=publication.message.replace('damn', '****'))\n"
    )
    harness = build(toml, tmp_path, pipelines={"censor": censor})
    publish(harness, "damn", "secret", "fine")
    assert harness.sent(harness.connect("/replay")) == ["****", "fine"]


def test_what_was_missed_may_be_more_than_the_outbox_holds(tmp_path: Path) -> None:
    """A client would be closed as slow whenever it returns, although it reads everything."""
    harness = build('[limits]\nmax_outbox = "10KiB"\n' + CONF, tmp_path)
    publish(harness, *("x" * 8000 for _ in range(5)))
    peer = Peer()
    peer.wire.full = True
    client = harness.connect("/replay", peer=peer)
    publish(harness, "live")
    peer.wire.drain()
    assert [len(message) for message in harness.sent(client)] == [8000, 8000, 8000, 4]
    # The allowance is over when everything was read.
    peer.wire.full = True
    publish(harness, *("x" * 8000 for _ in range(3)))
    assert harness.metrics["slow_consumers"] == 1


def test_two_nodes_see_one_order_and_a_client_can_return_to_the_other(tmp_path: Path) -> None:
    nodes = Nodes(CONF, tmp_path)
    a, b = nodes.first.connect("/positions"), nodes.second.connect("/positions")
    for number in range(3):
        nodes.first.channels.publish("lobby", f"a{number}")
        nodes.second.channels.publish("lobby", f"b{number}")
    nodes.settle()
    here, there = got(nodes.first, a), got(nodes.second, b)
    assert here == there == ["position 0", *enumerate(["a0", "b0", "a1", "b1", "a2", "b2"], 1)]
    c = nodes.second.connect(f"/positions?since={since(nodes.first, 4)}")
    assert got(nodes.second, c) == [(5, "a2"), (6, "b2")]


def test_a_message_of_another_program_is_kept_once(tmp_path: Path) -> None:
    nodes = Nodes(CONF, tmp_path)
    a, b = nodes.first.connect("/positions"), nodes.second.connect("/positions")
    nodes.bus.waiting += [("lobby", b"hello"), ("lobby", b"hello")]
    nodes.settle()
    assert got(nodes.first, a) == got(nodes.second, b) == ["position 0", (1, "hello"), (2, "hello")]


def test_a_reload_gives_a_channel_history_and_takes_it_away(tmp_path: Path) -> None:
    harness = build(CONF.replace("history = 5", "history = 0"), tmp_path)
    client = harness.connect("/raw")
    publish(harness, "before")
    service = harness.channels
    service.swap(harness.generation.publication, ChannelRules({"lobby": Channel(history=5)}))
    publish(harness, "kept 1", "kept 2")
    assert harness.sent(harness.connect("/replay")) == ["kept 1", "kept 2"]
    service.swap(harness.generation.publication, ChannelRules({}))
    publish(harness, "after")
    assert harness.sent(client) == ["before", "kept 1", "kept 2", "after"]
    assert harness.sent(harness.connect("/replay")) == []


class Slow:
    """A history that answers when the test says so."""

    def __init__(self) -> None:
        self.reads: list[Any] = []

    def start(self, follower: Any) -> None:
        self.follower = follower

    def publish(self, publication: Publication, settings: Channel, done: Any = None) -> None: ...
    def follow(self, channel: str, settings: Channel) -> None: ...
    def unfollow(self, channel: str) -> None: ...
    def page(self, *arguments: Any) -> None: ...
    def remove(self, *arguments: Any) -> None: ...
    def read(self, *arguments: Any) -> None:
        self.reads.append(arguments)


def test_what_is_on_its_way_when_a_reload_takes_the_history_away_arrives(tmp_path: Path) -> None:
    history = Slow()
    harness = build(CONF, tmp_path, history=history)
    client = harness.connect("/raw")
    history.follower.told("lobby", Position("e", 0))
    harness.channels.publish("lobby", "before the reload")
    harness.channels.swap(harness.generation.publication, ChannelRules({}))
    history.follower.arrived(Publication("lobby", "before the reload", offset=1, epoch="e"))
    harness.channels.publish("lobby", "after it")
    assert harness.sent(client) == ["before the reload", "after it"]


def test_a_client_that_leaves_while_it_is_expected_is_forgotten(tmp_path: Path) -> None:
    history = Slow()
    harness = build(CONF, tmp_path, history=history)
    client = harness.connect("/replay")
    assert harness.channels.members("lobby") == [client]
    harness.leave(client)
    assert harness.channels.channels() == []
    assert "lobby" not in client.channels


def test_what_arrives_before_the_position_is_known_reaches_a_member_that_joined_before(tmp_path: Path) -> None:
    """It was handed out before the client had become a member."""
    history = Slow()
    harness = build(CONF, tmp_path, history=history)
    client = harness.connect("/raw")
    history.follower.arrived(Publication("lobby", "1", offset=1, epoch="e"))
    history.follower.told("lobby", Position("e", 0))
    history.follower.arrived(Publication("lobby", "2", offset=2, epoch="e"))
    assert harness.sent(client) == ["1", "2"]


def test_a_member_that_joins_while_the_node_reads_gets_what_is_read(tmp_path: Path) -> None:
    history = Slow()
    harness = build(CONF, tmp_path, history=history)
    first = harness.connect("/raw")
    history.follower.told("lobby", Position("e", 0))
    history.follower.arrived(Publication("lobby", "2", offset=2, epoch="e"))
    second = harness.connect("/raw")
    [(_, _, after, _, done)] = history.reads
    assert after == Position("e", 0)
    both = [Publication("lobby", f"{number}", offset=number, epoch="e") for number in (1, 2, 3)]
    done(Page(both, Position("e", 3), complete=True))
    assert harness.sent(first) == harness.sent(second) == ["1", "2", "3"]


def test_a_client_that_reads_nothing_cannot_recover_again_and_again(tmp_path: Path) -> None:
    """Each recovery was allowed in addition, so that the outbox had no limit."""
    harness = build('[limits]\nmax_outbox = "10KiB"\n' + CONF, tmp_path)
    publish(harness, *("x" * 8000 for _ in range(5)))
    peer = Peer()
    client = harness.connect("/raw", peer=peer)
    peer.wire.full = True
    for _ in range(10):
        client.leave("lobby")
        client.join("lobby", replay=5)
    assert harness.metrics["slow_consumers"] == 1
    assert client.outbox.size < 100_000
