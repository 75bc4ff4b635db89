"""Clients that subscribe to patterns: who may, and that each publication reaches each client once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fws.base.errors import ConfigError
from fws.clients.client import Client
from tests.channels.test_nodes import Nodes
from tests.support import Harness, build

CONF = """
[channels."device:{id}:*"]
subscribe = "identity.role == 'operator'"
subscribe_patterns = true
[channels."device:{id}:secret"]
subscribe = "identity.role == 'operator'"
[channels."news:*"]
subscribe = "client.id != ''"
subscribe_patterns = true
history = 5
[channels."chat:*"]
subscribe = "channel != null"
[pipelines]
message = ["json", "by_type"]
[filters.by_type]
use = "switch"
key = "type"
[filters.by_type.case]
subscribe = ["subscribe {message.channel}"]
unsubscribe = ["unsubscribe {message.channel}"]
"""


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return build(CONF, tmp_path)


def say(harness: Harness, client: Client, **message: Any) -> list[Any]:
    harness.client_says(client, json.dumps(message))
    return [json.loads(text) for text in harness.sent(client)]


def operator(harness: Harness) -> Client:
    return harness.connect(identity={"user": "ann", "role": "operator"})


def subscribe(harness: Harness, client: Client, *patterns: str) -> list[Any]:
    return [say(harness, client, type="subscribe", channel=one)[-1].get("status") for one in patterns]


def publish(harness: Harness, *channels: str) -> None:
    for channel in channels:
        harness.channels.publish(channel, channel)


def test_a_pattern_receives_what_matches_it(harness: Harness) -> None:
    ann = operator(harness)
    assert subscribe(harness, ann, "device:*:temperature") == [None]
    publish(harness, "device:1:temperature", "device:2:temperature", "device:1:humidity", "device:1:temperature:raw")
    assert harness.sent(ann) == ["device:1:temperature", "device:2:temperature"]
    assert subscribe(harness, ann, "device:*") == [None]
    publish(harness, "device:1:humidity", "device:1:temperature", "news:a")
    assert harness.sent(ann) == ["device:1:humidity", "device:1:temperature"]


def test_a_pattern_does_not_reach_channels_of_other_rules(harness: Harness) -> None:
    """A more specific rule without patterns keeps its channels to itself."""
    ann = operator(harness)
    subscribe(harness, ann, "device:*")
    publish(harness, "device:1:secret", "device:1:open")
    assert harness.sent(ann) == ["device:1:open"]


def test_clients_that_do_not_meet_the_condition_are_refused(harness: Harness) -> None:
    bob = harness.connect(identity={"user": "bob"})
    assert subscribe(harness, bob, "device:1:x", "device:*:x", "device:1:*", "news:*") == [403, 403, 403, None]


@pytest.mark.parametrize("condition", ["id != 'secret'", "id in identity.devices", "channel != 'device:1'"])
def test_a_rule_that_needs_the_names_cannot_permit_patterns(tmp_path: Path, condition: str) -> None:
    """`id != 'secret'` would hold for the pattern, and the client would get what is published to `device:secret`."""
    rule = f'[channels."device:{{id}}"]\nsubscribe = "{condition}"\nsubscribe_patterns = true\n'
    with pytest.raises(ConfigError, match="the condition cannot use"):
        build(rule + '[pipelines]\nmessage = ["echo"]\n', tmp_path)
    with pytest.raises(ConfigError, match="subscribe_patterns needs subscribe"):
        build('[channels.a]\nsubscribe_patterns = true\n[pipelines]\nmessage = ["echo"]\n', tmp_path)


def test_a_cluster_cannot_be_subscribed_by_pattern(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be subscribed by pattern"):
        build('[redis]\nurl = "redis+cluster://localhost:7000"\n' + CONF, tmp_path)


@pytest.mark.parametrize(
    ("pattern", "status"),
    [
        ("*", 400),
        ("device:a*", 400),
        ("device::*", 400),
        ("chat:*", 403),
        ("other:*", 403),
    ],
)
def test_other_patterns_are_refused(harness: Harness, pattern: str, status: int) -> None:
    assert subscribe(harness, operator(harness), pattern) == [status]


def test_each_publication_reaches_a_client_once(harness: Harness) -> None:
    ann = operator(harness)
    subscribe(harness, ann, "device:*", "device:*:t", "device:1:*", "device:1:t")
    publish(harness, "device:1:t", "device:2:t")
    ann.send("direct")
    publish(harness, "device:1:t")
    assert harness.sent(ann) == ["device:1:t", "device:2:t", "direct", "device:1:t"]


def test_the_excluded_client_is_left_out(harness: Harness) -> None:
    ann, eve = operator(harness), operator(harness)
    for client in (ann, eve):
        subscribe(harness, client, "device:*")
    harness.channels.publish("device:1:t", "x", exclude=ann.id)
    assert (harness.sent(ann), harness.sent(eve)) == ([], ["x"])


def test_a_subscription_ends(harness: Harness) -> None:
    ann = operator(harness)
    subscribe(harness, ann, "device:*", "news:*")
    assert say(harness, ann, type="unsubscribe", channel="device:*") == [
        {"type": "unsubscribed", "channel": "device:*"}
    ]
    publish(harness, "device:1:t", "news:a")
    assert harness.sent(ann) == ["news:a"]
    harness.leave(ann)
    assert (len(harness.hub.patterns), harness.hub.patterned) == (0, False)
    publish(harness, "news:a")


def test_channels_with_history_reach_patterns_with_and_without_members(harness: Harness) -> None:
    ann, eve = operator(harness), operator(harness)
    subscribe(harness, ann, "news:*")
    publish(harness, "news:a")
    subscribe(harness, eve, "news:a")
    publish(harness, "news:a")
    assert (harness.sent(ann), harness.sent(eve)) == (["news:a"] * 2, ["news:a"])
    subscribe(harness, ann, "news:a")
    publish(harness, "news:a")
    assert (harness.sent(ann), harness.sent(eve)) == (["news:a"], ["news:a"])


def test_publishing_to_a_pattern_reaches_each_member_once(tmp_path: Path) -> None:
    nodes = Nodes(CONF, tmp_path)
    ann, bob, eve = nodes.first.connect(), nodes.second.connect(), nodes.second.connect()
    for client, channels in ((ann, ["device:1:a", "device:2:a"]), (bob, ["device:3:a"]), (eve, ["news:a"])):
        for channel in channels:
            client.join(channel)
    nodes.first.channels.publish_matching("device:*:a", "all")
    nodes.settle()
    assert (nodes.first.sent(ann), nodes.second.sent(bob), nodes.second.sent(eve)) == (["all"], ["all"], [])
    with pytest.raises(ValueError, match="whole part"):
        nodes.first.channels.publish_matching("device*", "x")


def test_patterns_on_another_node(tmp_path: Path) -> None:
    nodes = Nodes(CONF, tmp_path)
    ann = operator(nodes.second)
    subscribe(nodes.second, ann, "device:*", "news:*")
    member = nodes.second.connect()
    member.join("device:1:t")
    publish(nodes.first, "device:1:t", "device:2:t", "device:1:secret", "news:a")
    nodes.settle()
    assert nodes.second.sent(ann) == ["device:1:t", "device:2:t", "news:a"]
    assert nodes.second.sent(member) == ["device:1:t"]


def test_a_client_cannot_publish_to_a_pattern(tmp_path: Path) -> None:
    """`broadcast chat:{message.room}` with the room `*` reached the members of every room."""
    toml = '[pipelines]\nmessage = ["json", "broadcast chat:{message.room}", "publish chat:{message.room}"]\n'
    harness = build(toml, tmp_path)
    member, eve = harness.connect(), harness.connect()
    member.join("chat:secret")
    say(harness, eve, room="*")
    assert harness.sent(member) == []
