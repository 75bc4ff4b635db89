"""`ack`: what is sent again, what is given up, and what the publisher learns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fws.clients.client import Client
from tests.channels.test_nodes import Nodes
from tests.support import Harness, build

CONF = """
[pipelines]
connect = ["join lobby"]
message = ["json", "ack timeout=2s retries=2 most=3", "broadcast lobby to=others"]
deliver = ["ack timeout=2s retries=2 most=3"]
"""


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return build(CONF, tmp_path)


def got(harness: Harness, client: Client) -> list[Any]:
    return [json.loads(text) for text in harness.sent(client)]


def say(harness: Harness, client: Client, **message: Any) -> None:
    harness.client_says(client, json.dumps(message))


def test_the_publisher_learns_that_all_have_acknowledged(harness: Harness) -> None:
    ann, bob, eve = (harness.connect() for _ in range(3))
    say(harness, ann, id=7, text="hi")
    assert got(harness, bob) == got(harness, eve) == [{"id": 7, "text": "hi", "ack": 1}]
    say(harness, bob, ack=1)
    assert got(harness, ann) == []
    say(harness, eve, ack=1)
    assert got(harness, ann) == [{"type": "acked", "id": 7, "acked": 2, "of": 2}]
    harness.pass_time(10)
    assert got(harness, bob) == got(harness, eve) == []


def test_what_is_not_acknowledged_is_sent_again_in_order_and_then_given_up(harness: Harness) -> None:
    ann, bob, eve = (harness.connect() for _ in range(3))
    for number in range(2):
        say(harness, ann, id=number)
    say(harness, eve, ack=1)
    say(harness, eve, ack=2)
    got(harness, bob)
    for _ in range(2):
        harness.pass_time(2.5)
        assert got(harness, bob) == [{"id": 0, "ack": 1}, {"id": 1, "ack": 2}]
    say(harness, bob, ack=2)
    harness.pass_time(2.5)
    assert got(harness, bob) == []
    assert got(harness, ann) == [
        {"type": "acked", "id": 1, "acked": 2, "of": 2},
        {"type": "acked", "id": 0, "acked": 1, "of": 2},
    ]
    assert (harness.metrics["acks_late"], harness.metrics["acks_missing"]) == (4, 1)


def test_a_client_that_leaves_has_not_acknowledged(harness: Harness) -> None:
    ann, bob = harness.connect(), harness.connect()
    say(harness, ann, id="x")
    harness.leave(bob)
    assert got(harness, ann) == [{"type": "acked", "id": "x", "acked": 0, "of": 1}]


def test_a_client_has_a_bounded_number(harness: Harness) -> None:
    ann, bob = harness.connect(), harness.connect()
    for number in range(5):
        say(harness, ann, id=number)
    assert [one["id"] for one in got(harness, ann)] == [0, 1]
    harness.pass_time(2.5)
    assert [one["id"] for one in got(harness, bob)] == [0, 1, 2, 3, 4, 2, 3, 4]


def test_messages_get_an_id_and_others_are_left_alone(harness: Harness) -> None:
    ann, bob = harness.connect(), harness.connect()
    say(harness, ann, text="hi")
    harness.client_says(ann, '["a list"]')
    harness.channels.publish("lobby", {"id": 1, "from": "the server"})
    first, second, third = got(harness, bob)
    assert isinstance(first["id"], str)
    assert first["ack"] == 1
    assert (second, third) == (["a list"], {"id": 1, "from": "the server"})
    harness.pass_time(2.5)
    assert got(harness, bob) == [first]


@pytest.mark.parametrize("wrong", [None, [], {"a": 1}, "", "1", 1.5, True, 2, -1])
def test_strange_acknowledgements_have_no_effect(harness: Harness, wrong: Any) -> None:
    ann, bob = harness.connect(), harness.connect()
    say(harness, ann, id="a")
    say(harness, bob, ack=wrong)
    say(harness, bob, ack=1)
    say(harness, bob, ack=1)
    assert got(harness, ann) == [{"type": "acked", "id": "a", "acked": 1, "of": 1}]
    assert harness.faults == 0


def test_receivers_on_two_servers(tmp_path: Path) -> None:
    nodes = Nodes(CONF, tmp_path)
    ann, bob, eve = nodes.first.connect(), nodes.first.connect(), nodes.second.connect()
    say(nodes.first, ann, id=1)
    nodes.settle()
    say(nodes.second, eve, ack=1)
    nodes.settle()
    say(nodes.first, bob, ack=1)
    nodes.settle()
    assert [(one["acked"], one["of"]) for one in got(nodes.first, ann)] == [(1, 1), (2, 2)]


def test_a_repetition_passes_the_other_deliver_filters_too(tmp_path: Path) -> None:
    """It was sent as it was before these filters: with the secret."""
    conf = CONF.replace(
        'deliver = ["ack timeout=2s retries=2 most=3"]', 'deliver = ["ack timeout=2s retries=2 most=3", "omit secret"]'
    )
    harness = build(conf, tmp_path)
    ann, bob = harness.connect(), harness.connect()
    say(harness, ann, id=1, secret="x")
    harness.pass_time(2.5)
    assert got(harness, bob) == [{"id": 1, "ack": 1}] * 2


def test_nothing_is_repeated_to_who_has_left_the_channel(harness: Harness) -> None:
    ann, bob = harness.connect(), harness.connect()
    say(harness, ann, id=1)
    bob.leave("lobby")
    got(harness, bob)
    harness.pass_time(2.5)
    assert got(harness, bob) == []
    assert got(harness, ann) == [{"type": "acked", "id": 1, "acked": 0, "of": 1}]


def test_two_publishers_with_the_same_id(harness: Harness) -> None:
    """The message of the one was given up for that of the other."""
    ann, eve, bob = (harness.connect() for _ in range(3))
    say(harness, ann, id=1)
    say(harness, eve, id=1)
    assert [one["ack"] for one in got(harness, bob)] == [1, 2]
    say(harness, bob, ack=2)
    say(harness, bob, ack=1)
    say(harness, ann, ack=1)
    say(harness, eve, ack=1)
    assert [one for one in got(harness, ann) if "type" in one] == [{"type": "acked", "id": 1, "acked": 2, "of": 2}]
    assert [one for one in got(harness, eve) if "type" in one] == [{"type": "acked", "id": 1, "acked": 2, "of": 2}]
