"""Channels that clients request themselves: who may, what the pipelines decide, and how subscriptions end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jwt
import pytest

from fws.base.errors import ConfigError
from fws.clients.client import Client
from tests.channels.test_nodes import Nodes
from tests.support import Harness, build

KEY = "0123456789abcdef0123456789abcdef"
CONF = """
[channels."chat:{room}"]
history = 10
subscribe = "room in identity.rooms"
publish = "identity.role == 'editor' and room != 'quiet' and len(text) < 10"
[channels."open:*"]
subscribe = "channel != ''"
[channels."closed:*"]
history = 5
[pipelines]
message = ["json", "by_type"]
subscribe = ["note", "require channel != 'open:forbidden'", "log"]
unsubscribe = ["note"]
[filters.by_type]
use = "switch"
key = "type"
[filters.by_type.case]
subscribe = ["subscribe {message.channel} since=message.since token=message.token"]
unsubscribe = ["unsubscribe {message.channel}"]
publish = ["publish {message.channel} by=client once=message.id"]
"""
NOTE = """
from fws import Filter

class Note(Filter):
    waits = False

    def __post_init__(self):
        self.notes = []

    def subscribe(self, client, channel):
        self.notes.append(f"+{channel}")
        if channel == "open:broken":
            raise RuntimeError("broken")

    def unsubscribe(self, client, channel):
        self.notes.append(f"-{channel}")
        if channel == "open:odd":
            raise RuntimeError("odd")
"""


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return build(CONF, tmp_path, pipelines={"note": NOTE})


def notes(harness: Harness) -> list[str]:
    [note] = [one for one in harness.generation.filters if type(one).__name__ == "Note"]
    found: list[str] = note.notes  # type: ignore[attr-defined]
    taken = found.copy()
    found.clear()
    return taken


def say(harness: Harness, client: Client, **message: Any) -> list[Any]:
    """What the client receives after it has said something."""
    harness.client_says(client, json.dumps(message))
    return [json.loads(text) for text in harness.sent(client)]


def identity(**claims: Any) -> dict[str, Any]:
    return {"user": "ann", "rooms": ["tea", "quiet"], **claims}


def test_a_client_gets_what_the_rule_allows(harness: Harness) -> None:
    ann = harness.connect(identity=identity())
    assert say(harness, ann, type="subscribe", channel="chat:tea") == [{"type": "subscribed", "channel": "chat:tea"}]
    [refused] = say(harness, ann, type="subscribe", channel="chat:secret")
    assert (refused["type"], refused["channel"], refused["status"]) == ("refused", "chat:secret", 403)
    assert ann.channels == {"chat:tea"}
    assert notes(harness) == ["+chat:tea"]
    assert harness.metrics["channels_refused"] == 1


@pytest.mark.parametrize("channel", ["closed:a", "lobby", "chat:tea:log", "chat:", "chat:{tea}"])
def test_without_a_rule_nobody_may(harness: Harness, channel: str) -> None:
    ann = harness.connect(identity=identity(rooms=["tea", "tea:log", "", "{tea}"]))
    [refused] = say(harness, ann, type="subscribe", channel=channel)
    assert refused["status"] == 403
    assert ann.channels == set()


@pytest.mark.parametrize("channel", ["open*", "a\x00b"])
def test_an_invalid_name_is_refused(harness: Harness, channel: str) -> None:
    ann = harness.connect(identity=identity())
    assert say(harness, ann, type="subscribe", channel=channel)[0]["status"] == 400


def test_filters_refuse_and_faults_fail_closed(harness: Harness) -> None:
    ann = harness.connect(identity=identity())
    assert say(harness, ann, type="subscribe", channel="open:forbidden")[0]["status"] == 403
    assert say(harness, ann, type="subscribe", channel="open:broken")[0]["status"] == 500
    assert ann.channels == set()
    assert harness.faults == 1
    harness.leave(ann)
    assert [note for note in notes(harness) if note.startswith("-")] == []


def test_unsubscribe_runs_once_however_a_subscription_ends(harness: Harness) -> None:
    ann = harness.connect(identity=identity())
    for channel in ("open:a", "open:b", "open:odd", "open:c"):
        say(harness, ann, type="subscribe", channel=channel)
    notes(harness)
    assert say(harness, ann, type="unsubscribe", channel="open:a") == [{"type": "unsubscribed", "channel": "open:a"}]
    assert say(harness, ann, type="unsubscribe", channel="open:a") == []
    ann.leave("open:b")
    assert notes(harness) == ["-open:a", "-open:b"]
    harness.leave(ann)
    assert sorted(notes(harness)) == ["-open:c", "-open:odd"]
    assert harness.faults == 1


def test_what_a_pipeline_has_joined_is_no_subscription(harness: Harness) -> None:
    ann = harness.connect(identity=identity())
    ann.join("open:a")
    assert say(harness, ann, type="subscribe", channel="open:a") == [{"type": "subscribed", "channel": "open:a"}]
    assert say(harness, ann, type="unsubscribe", channel="open:a") == []
    assert ann.channels == {"open:a"}
    harness.leave(ann)
    assert notes(harness) == []


def test_a_subscription_resumes_from_a_position(harness: Harness) -> None:
    ann = harness.connect(identity=identity())
    for number in range(5):
        harness.channels.publish("chat:tea", {"n": number})
    position = harness.channels.history("chat:tea")[1]
    got = say(harness, ann, type="subscribe", channel="chat:tea", since=f"{position.epoch}:{position.offset}")
    assert got == [{"type": "subscribed", "channel": "chat:tea"}, {"n": 2}, {"n": 3}, {"n": 4}]


def test_a_client_publishes_under_the_rule(harness: Harness) -> None:
    ann = harness.connect(identity=identity())
    eve = harness.connect(identity=identity(role="editor"))
    say(harness, ann, type="subscribe", channel="chat:tea")
    for client, channel, text in (
        (ann, "chat:tea", "no"),
        (eve, "chat:quiet", "no"),
        (eve, "lobby", "no"),
        (eve, "chat:tea", "far too long"),
        (eve, "chat:tea", "yes"),
    ):
        say(harness, client, type="publish", channel=channel, text=text)
    assert [json.loads(text)["text"] for text in harness.sent(ann)] == ["yes"]


def test_a_message_cannot_pretend_to_be_another_room(harness: Harness) -> None:
    """Fields of the message are available in `publish`, and the pattern's names hide them."""
    eve = harness.connect(identity=identity(role="editor"))
    say(harness, eve, type="publish", channel="chat:quiet", text="x", room="tea")
    assert harness.channels.history("chat:quiet") == []


def test_a_client_has_a_limited_number_of_subscriptions(tmp_path: Path) -> None:
    toml = "[limits]\nsubscriptions = 2\n" + CONF
    harness = build(toml, tmp_path, pipelines={"note": NOTE})
    ann = harness.connect(identity=identity())
    statuses = [say(harness, ann, type="subscribe", channel=f"open:{n}")[0].get("status") for n in range(3)]
    assert statuses == [None, None, 429]
    say(harness, ann, type="unsubscribe", channel="open:0")
    assert say(harness, ann, type="subscribe", channel="open:2")[0]["type"] == "subscribed"


def test_a_message_with_the_same_id_is_published_once_on_all_nodes(tmp_path: Path) -> None:
    nodes = Nodes(CONF.replace('"note", ', "").replace('["note"]', "[]"), tmp_path)
    nodes.second.channels._once = nodes.first.channels._once
    member = nodes.first.connect()
    member.join("chat:tea")
    for node in (nodes.first, nodes.second, nodes.first):
        eve = node.connect(identity=identity(role="editor"))
        say(node, eve, type="publish", channel="chat:tea", text="x", id=7)
        say(node, eve, type="publish", channel="chat:tea", text="y")
        nodes.settle()
    texts = [json.loads(text)["text"] for text in nodes.first.sent(member)]
    assert texts == ["x", "y", "y", "y"]


def test_a_key_is_forgotten_after_5_minutes(harness: Harness) -> None:
    publish = harness.channels.publish
    assert [publish("open:a", "x", key="k"), publish("open:a", "x", key="k"), publish("open:b", "x", key="k")] == [
        True,
        False,
        True,
    ]
    harness.pass_time(301)
    assert publish("open:a", "x", key="k")


def token(harness: Harness, **claims: Any) -> str:
    claims = {"channel": "open:a", "exp": int(harness.wall.now) + 60, **claims}
    return jwt.encode({key: value for key, value in claims.items() if value is not None}, KEY, "HS256")


@pytest.fixture
def guarded(tmp_path: Path) -> Harness:
    toml = (
        '[channels."open:*"]\nsubscribe = "channel != null"\n[pipelines]\n'
        'message = ["json", "subscribe {message.channel} token=message.token"]\n'
        'subscribe = ["jwt HS256 ${KEY}"]\n'
    )
    return build(toml, tmp_path, environ={"KEY": KEY})


def test_a_token_for_the_channel(guarded: Harness) -> None:
    ann = guarded.connect(identity={"user": "ann"})
    for claims in ({"channel": "open:b"}, {"channel": None}, {"sub": "bob"}, {"exp": int(guarded.wall.now) - 1}):
        assert say(guarded, ann, channel="open:a", token=token(guarded, **claims))[0]["status"] == 403
    assert say(guarded, ann, channel="open:a", token="rubbish")[0]["status"] == 403
    assert say(guarded, ann, channel="open:a")[0]["status"] == 403
    assert say(guarded, ann, channel="open:a", token=token(guarded, sub="ann"))[0]["type"] == "subscribed"
    assert ann.call.token == ""


def test_a_subscription_ends_with_its_token_and_a_later_one_has_its_own(guarded: Harness) -> None:
    ann = guarded.connect()
    say(guarded, ann, channel="open:a", token=token(guarded))
    guarded.pass_time(30)
    assert ann.unsubscribe("open:a")
    say(guarded, ann, channel="open:a", token=token(guarded))
    guarded.pass_time(40)
    assert ann.channels == {"open:a"}
    guarded.pass_time(30)
    assert ann.channels == set()
    [told] = [json.loads(text) for text in guarded.sent(ann)]
    assert told == {"type": "unsubscribed", "channel": "open:a", "reason": "the token has expired"}


def test_names_in_rules_are_checked(tmp_path: Path) -> None:
    for rule in ('subscribe = "text == 1"', 'presence_info = ["message.x"]', 'publish = "params.x ="'):
        with pytest.raises(ConfigError, match=r"there is no|this is not a condition"):
            build(f'[pipelines]\nmessage = ["echo"]\n[channels."a:{{room}}"]\npresence = true\n{rule}\n', tmp_path)


def test_a_client_with_another_identity_loses_what_it_may_not_request_any_more(harness: Harness) -> None:
    ann = harness.connect(identity=identity())
    for channel in ("chat:tea", "open:a"):
        say(harness, ann, type="subscribe", channel=channel)
    ann.identity = identity(rooms=[])
    ann.renewed()
    [told] = [json.loads(text) for text in harness.sent(ann)]
    assert (told["type"], told["channel"]) == ("unsubscribed", "chat:tea")
    assert ann.channels == {"open:a"}
    assert "-chat:tea" in notes(harness)
