"""Subscriptions: what is answered and pushed when clients subscribe, return, are joined, and lose channels."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from fws.compiler.compile import load_generation
from tests.protocols.centrifuge.slow import SlowHistory
from tests.protocols.centrifuge.speaking import CONNECT, Speaker, connected, error
from tests.support import Clock, Harness, build

CONF = """
[limits]
subscriptions = 3
max_outbox = "64KiB"
[endpoints."/"]
protocol = "centrifuge"
subscribe = ["require channel != 'open:never'"]
message = ["when call.kind == 'rpc'", "switch"]
unsubscribe = ["ends"]
[endpoints."/positions"]
protocol = "centrifuge"
connect = ["join lobby"]
[endpoints."/watch"]
connect = ["join ends"]
[filters.switch]
use = "switch"
key = "do"
[filters.switch.case]
join = ["join {message.channel}"]
leave = ["leave {message.channel}"]
[channels."lobby"]
history = 5
[channels."open:*"]
history = 5
subscribe = "channel != ''"
[channels."plain:*"]
subscribe = "channel != ''"
[channels."latest"]
history = 5
slow = "latest"
subscribe = "channel != ''"
[channels."oldest"]
history = 5
slow = "drop_oldest"
subscribe = "channel != ''"
[channels."closed:*"]
history = 5
"""
ENDS = """
from fws import Filter


class Ends(Filter):
    def unsubscribe(self, client, channel):
        self.services.hub.publish("ends", channel)
"""
SUBSCRIBE = {"id": 2, "subscribe": {"channel": "open:a"}}


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return built(tmp_path)


def built(tmp_path: Path, conf: str = CONF, history: SlowHistory | None = None, **pipelines: str) -> Harness:
    return build(conf, tmp_path, history=history, pipelines={"ends": ENDS} | pipelines)


def publish(harness: Harness, channel: str, *messages: Any) -> None:
    for message in messages:
        harness.channels.publish(channel, message)
        harness.settle()


def subscribe(speaker: Speaker, channel: str, **more: Any) -> Any:
    """Subscribe. Returns the result, or the code and message of the error."""
    reply = next(one for one in speaker.say({"id": 9, "subscribe": {"channel": channel, **more}}) if one.get("id") == 9)
    return error(reply) if "error" in reply else reply["subscribe"]


def test_a_subscription_with_history(harness: Harness) -> None:
    publish(harness, "open:a", 1, 2)
    speaker = connected(harness)
    result = subscribe(speaker, "open:a")
    epoch = result.pop("epoch")
    assert result == {"recoverable": True, "positioned": True, "offset": 2}
    publish(harness, "open:a", {"x": 3})
    assert speaker.heard() == [{"push": {"channel": "open:a", "pub": {"data": {"x": 3}, "offset": 3}}}]
    assert len(epoch) > 4


def test_a_subscription_without_history(harness: Harness) -> None:
    speaker = connected(harness)
    assert subscribe(speaker, "plain:a") == {}
    assert subscribe(connected(harness), "plain:a", recover=True, epoch="x", offset=1) == {"was_recovering": True}
    publish(harness, "plain:a", "text")
    assert speaker.heard() == [{"push": {"channel": "plain:a", "pub": {"data": "text"}}}]


def test_a_client_that_returns_gets_what_it_has_missed(harness: Harness) -> None:
    publish(harness, "open:a", 1, 2, 3)
    epoch = subscribe(connected(harness), "open:a")["epoch"]
    result = subscribe(connected(harness), "open:a", recover=True, epoch=epoch, offset=1)
    assert result["publications"] == [{"data": 2, "offset": 2}, {"data": 3, "offset": 3}]
    assert (result["recovered"], result["was_recovering"], result["offset"]) == (True, True, 3)


@pytest.mark.parametrize("position", [("other", 1), ("", 0), ("%", 1), ("a:1", 3), ("", 10**12)])
def test_a_position_that_is_not_kept_is_not_recovered(harness: Harness, position: tuple[str, int]) -> None:
    publish(harness, "open:a", 1)
    result = subscribe(connected(harness), "open:a", recover=True, epoch=position[0], offset=position[1])
    assert "recovered" not in result
    assert "publications" not in result
    assert (result["was_recovering"], result["offset"]) == (True, 1)


def test_too_much_was_missed(harness: Harness) -> None:
    publish(harness, "open:a", 0)
    epoch = subscribe(connected(harness), "open:a")["epoch"]
    publish(harness, "open:a", *range(7))
    result = subscribe(connected(harness), "open:a", recover=True, epoch=epoch, offset=1)
    assert "recovered" not in result


@pytest.mark.parametrize(
    ("channel", "code"),
    [
        ("closed:a", 103),
        ("unknown", 103),
        ("open:never", 103),
        ("open:*", 107),
        ("open:a\nb", 107),
        ("open:" + "x" * 200, 107),
    ],
)
def test_channels_that_a_client_may_not_have(
    harness: Harness, caplog: pytest.LogCaptureFixture, channel: str, code: int
) -> None:
    caplog.set_level(logging.INFO)
    speaker = connected(harness)
    found, reason = subscribe(speaker, channel)
    assert found == code
    assert speaker.client.channels == set()
    assert reason in caplog.text
    assert len(caplog.records) == 1


def test_an_error_does_not_say_whether_a_channel_exists(harness: Harness) -> None:
    inside = connected(harness)
    inside.say({"id": 2, "rpc": {"data": {"do": "join", "channel": "closed:used"}}})
    publish(harness, "closed:used", 1)
    speaker = connected(harness)
    for command in ("subscribe", "unsubscribe", "presence", "presence_stats", "history", "publish"):
        answers = [
            [one.get("error") for one in speaker.say({"id": 5, command: {"channel": channel}})]
            for channel in ("closed:used", "closed:free", "nothing")
        ]
        assert answers[0] == answers[1] == answers[2], command


def test_features_that_are_not_there(harness: Harness) -> None:
    speaker = connected(harness)
    assert subscribe(speaker, "open:a", type=1)[0] == 108
    assert subscribe(speaker, "open:a", tf={"key": "x"})[0] == 108
    assert subscribe(speaker, "open:a", delta="fossil")["recoverable"]


def test_subscriptions_are_limited(harness: Harness) -> None:
    speaker = connected(harness)
    for number in range(3):
        assert "recoverable" in subscribe(speaker, f"open:{number}")
    assert subscribe(speaker, "open:more") == (111, "Too many subscriptions.")
    speaker.say({"id": 3, "unsubscribe": {"channel": "open:0"}})
    assert "recoverable" in subscribe(speaker, "open:more")


def test_unsubscribe_is_answered_without_a_push(harness: Harness) -> None:
    speaker = connected(harness)
    subscribe(speaker, "open:a")
    assert speaker.say({"id": 3, "unsubscribe": {"channel": "open:a"}}) == [{"id": 3, "unsubscribe": {}}]
    publish(harness, "open:a", 1)
    assert speaker.heard() == []
    assert speaker.say({"id": 4, "unsubscribe": {"channel": "never"}}) == [{"id": 4, "unsubscribe": {}}]


def test_a_second_subscription_replaces_the_first(harness: Harness) -> None:
    """A client that was told about a gap subscribes again, with its position."""
    watcher = harness.connect("/watch")
    speaker = connected(harness)
    epoch = subscribe(speaker, "open:a")["epoch"]
    publish(harness, "open:a", 1)
    again = speaker.say({"id": 9, "subscribe": {"channel": "open:a", "recover": True, "epoch": epoch, "offset": 0}})
    assert [one["id"] for one in again if "id" in one] == [9]
    assert again[-1]["subscribe"]["publications"] == [{"data": 1, "offset": 1}]
    assert harness.sent(watcher) == ["open:a"]


def test_unsubscribe_pipelines_run_once_for_each_subscription(harness: Harness) -> None:
    watcher = harness.connect("/watch")
    speaker = connected(harness)
    for channel in ("open:a", "open:b", "plain:c"):
        subscribe(speaker, channel)
    subscribe(speaker, "closed:a")
    speaker.say({"id": 3, "unsubscribe": {"channel": "open:a"}})
    speaker.client.withdraw("open:b", "why")
    harness.leave(speaker.client)
    assert sorted(map(str, harness.sent(watcher))) == ["open:a", "open:b", "plain:c"]


def test_what_ends_a_subscription_is_told(harness: Harness) -> None:
    speaker = connected(harness)
    for channel in ("open:a", "open:b", "open:c"):
        subscribe(speaker, channel)
    speaker.client.withdraw("open:a", "not for you any more")
    speaker.client.unsubscribe("open:b")
    speaker.client.withdraw("open:c", "the token has expired", expired=True)
    assert [one["push"]["unsubscribe"] for one in speaker.heard()] == [
        {"code": 2000, "reason": "not for you any more"},
        {"code": 2000, "reason": "server unsubscribe"},
        {"code": 2501, "reason": "the token has expired"},
    ]


# What pipelines do after `connect`.


def test_channels_that_pipelines_join_and_leave(harness: Harness) -> None:
    publish(harness, "lobby", 1)
    speaker = connected(harness)
    push, reply = speaker.say({"id": 2, "rpc": {"data": {"do": "join", "channel": "lobby"}}})
    assert push["push"]["channel"] == "lobby"
    assert push["push"]["subscribe"].pop("epoch")
    assert push["push"]["subscribe"] == {"recoverable": True, "positioned": True, "offset": 1}
    assert reply["id"] == 2
    publish(harness, "lobby", 2)
    assert speaker.heard() == [{"push": {"channel": "lobby", "pub": {"data": 2, "offset": 2}}}]
    push, _ = speaker.say({"id": 3, "rpc": {"data": {"do": "leave", "channel": "lobby"}}})
    assert push == {"push": {"channel": "lobby", "unsubscribe": {"code": 2000, "reason": "server unsubscribe"}}}


def test_a_client_that_is_joined_cannot_subscribe_or_leave_itself(harness: Harness) -> None:
    speaker = connected(harness, "/positions")
    assert subscribe(speaker, "lobby") == (105, "already subscribed")
    assert speaker.say({"id": 3, "unsubscribe": {"channel": "lobby"}}) == [{"id": 3, "unsubscribe": {}}]
    assert speaker.client.channels == {"lobby"}


def test_connect_recovers_the_channels_that_its_pipeline_joins(harness: Harness) -> None:
    epoch = connected_epoch(harness)
    publish(harness, "lobby", 1, 2)
    speaker = Speaker(harness, "/positions")
    given = {"lobby": {"recover": True, "epoch": epoch, "offset": 1}, "closed:a": {"recover": True, "epoch": "x"}}
    subs = speaker.connect(subs=given)["connect"]["subs"]
    assert set(subs) == {"lobby"}
    assert subs["lobby"]["publications"] == [{"data": 2, "offset": 2}]
    assert subs["lobby"]["recovered"]


def connected_epoch(harness: Harness) -> str:
    epoch: str = Speaker(harness, "/positions").connect()["connect"]["subs"]["lobby"]["epoch"]
    return epoch


# Channels that take their time to become known.


def slowly(tmp_path: Path) -> tuple[Harness, SlowHistory, Speaker]:
    history = SlowHistory(Clock(1000.0))
    harness = built(tmp_path, history=history)
    return harness, history, connected(harness)


def test_a_subscription_is_answered_when_its_channel_is_known(tmp_path: Path) -> None:
    harness, history, speaker = slowly(tmp_path)
    assert speaker.say(SUBSCRIBE, {"id": 3, "ping": {}}) == [{"id": 3, "ping": {}}]
    publish(harness, "open:a", 1)
    assert speaker.heard() == []
    history.answer()
    reply, *pushes = speaker.heard()
    assert reply["id"] == 2
    offset = reply["subscribe"].get("offset", 0)
    assert [one["push"]["pub"]["offset"] for one in pushes] == list(range(offset + 1, 2))


def test_a_channel_that_does_not_become_known_in_time(tmp_path: Path) -> None:
    harness, history, speaker = slowly(tmp_path)
    watcher = harness.connect("/watch")
    speaker.say(SUBSCRIBE)
    harness.pass_time(4.5)
    (reply,) = speaker.heard()
    assert (reply["id"], error(reply)[0], reply["error"]["temporary"]) == (2, 100, True)
    history.answer()
    assert speaker.heard() == []
    assert harness.sent(watcher) == ["open:a"]
    speaker.say({**SUBSCRIBE, "id": 4})
    history.answer()
    assert [one["id"] for one in speaker.heard()] == [4]


def test_an_unsubscribe_pipeline_may_block_when_time_is_over(tmp_path: Path) -> None:
    """Fault: it ran in the event loop, where blocking is an error."""
    rest = """
import gevent
from fws import Filter


class Rest(Filter):
    def unsubscribe(self, client, channel):
        gevent.sleep(0.001)
"""
    history = SlowHistory(Clock(1000.0))
    conf = CONF.replace('unsubscribe = ["', 'unsubscribe = ["rest", "')
    harness = built(tmp_path, conf, history, rest=rest)
    watcher = harness.connect("/watch")
    speaker = connected(harness)
    speaker.say(SUBSCRIBE)
    harness.pass_time(4.5)
    assert error(speaker.heard()[0])[0] == 100
    assert (harness.faults, harness.sent(watcher)) == (0, ["open:a"])


def test_leaving_a_channel_that_is_being_read(tmp_path: Path) -> None:
    harness, history, speaker = slowly(tmp_path)
    speaker.say(SUBSCRIBE)
    replies = speaker.say({"id": 3, "unsubscribe": {"channel": "open:a"}})
    assert [(one["id"], "error" in one) for one in replies] == [(2, True), (3, False)]
    history.answer()
    assert speaker.heard() == []
    assert speaker.client.channels == set()
    speaker.say(SUBSCRIBE)
    assert [one["id"] for one in speaker.say({**SUBSCRIBE, "id": 4})] == [2], "the first one has failed"
    history.answer()
    assert [one["id"] for one in speaker.heard()] == [4]
    assert harness.faults == 0


def test_a_client_that_goes_while_its_channel_is_being_read(tmp_path: Path) -> None:
    harness, history, speaker = slowly(tmp_path)
    watcher = harness.connect("/watch")
    speaker.say(SUBSCRIBE)
    harness.leave(speaker.client)
    history.answer()
    harness.pass_time(5)
    assert (harness.faults, harness.channels.channels(), harness.sent(watcher)) == (0, ["ends"], ["open:a"])


def test_a_reload_takes_the_history_of_a_channel_that_is_being_read(tmp_path: Path) -> None:
    harness, history, speaker = slowly(tmp_path)
    speaker.say(SUBSCRIBE)
    file = tmp_path / "test.toml"
    file.write_text(CONF.replace('[channels."open:*"]\nhistory = 5', '[channels."open:*"]'))
    harness.node.swap(load_generation(file, harness.generation.services, {}))
    assert speaker.heard() == [{"id": 2, "subscribe": {}}]
    history.answer()
    publish(harness, "open:a", 1)
    assert [one["push"]["pub"]["data"] for one in speaker.heard()] == [1]


def test_a_client_that_goes_while_its_subscription_is_decided(tmp_path: Path) -> None:
    """Fault: its `subscribe` passed afterwards, and nothing ran `unsubscribe`."""
    rest = """
import gevent
from fws import Filter


class Rest(Filter):
    gates = []

    def subscribe(self, client, channel):
        self.gates.append(gate := gevent.event.Event())
        gate.wait(5)
"""
    harness = built(tmp_path, CONF.replace('subscribe = ["req', 'subscribe = ["rest", "req'), rest=rest)
    watcher = harness.connect("/watch")
    speaker = connected(harness)
    harness.arrive_now(speaker.client, json.dumps(SUBSCRIBE))
    harness.leave(speaker.client)
    filter: Any = next(step.instance for step in speaker.client.endpoint.subscribe.walk())
    filter.gates[0].set()
    harness.settle()
    assert harness.sent(watcher) == ["open:a"]
    assert (harness.channels.channels(), harness.faults) == (["ends"], 0)


# Gaps.


def test_a_gap_ends_a_subscription_and_the_client_asks_again(harness: Harness) -> None:
    speaker = connected(harness)
    subscribe(speaker, "open:a")
    harness.hub.missed("open:a")
    assert speaker.heard() == [
        {"push": {"channel": "open:a", "unsubscribe": {"code": 2500, "reason": "insufficient state"}}}
    ]
    assert "recoverable" in subscribe(speaker, "open:a")


def test_a_gap_in_a_channel_that_a_pipeline_has_joined_ends_the_connection(harness: Harness) -> None:
    speaker = connected(harness, "/positions")
    harness.hub.missed("lobby")
    assert speaker.end == (3010, "insufficient state")


@pytest.mark.parametrize("channel", ["latest", "oldest"])
def test_a_client_that_does_not_keep_up_is_told_what_it_has_lost(harness: Harness, channel: str) -> None:
    speaker = connected(harness)
    subscribe(speaker, channel)
    wire = harness.peers[speaker.client].wire
    wire.full = True
    for number in range(20):
        publish(harness, channel, f"{number} " + "x" * 10_000)
    wire.drain()
    pushes = [one["push"] for one in speaker.heard()]
    told = [one.get("unsubscribe", {}).get("code") or one["pub"]["offset"] for one in pushes]
    assert 2500 in told
    assert told[-1] == 20
    gap = told.index(2500)
    assert told[gap + 1 :] == list(range(told[gap + 1], 21))


# `deliver` pipelines.

DELIVER = """
[endpoints."/"]
protocol = "centrifuge"
connect = ["join lobby"]
deliver = [{first}"when message.n != 2", "set seen=true"]
[channels."lobby"]
history = 5
"""
PATIENT = """
import gevent
from fws import Filter


class Patient(Filter):
    def deliver(self, client, publication):
        gevent.sleep(0)
"""


@pytest.mark.parametrize("first", ["", '"patient", '])
def test_deliver_pipelines_see_what_was_missed_too(tmp_path: Path, first: str) -> None:
    harness = build(DELIVER.replace("{first}", first), tmp_path, pipelines={"patient": PATIENT} if first else {})
    epoch = Speaker(harness).connect()["connect"]["subs"]["lobby"]["epoch"]
    publish(harness, "lobby", *({"n": number} for number in range(1, 4)))
    speaker = Speaker(harness)
    replies = speaker.say({**CONNECT, "connect": {"subs": {"lobby": {"recover": True, "epoch": epoch}}}})
    lobby = replies[0]["connect"]["subs"]["lobby"]
    assert [(one["data"]["n"], one["data"]["seen"]) for one in lobby["publications"]] == [(1, True), (3, True)]
    assert (lobby["offset"], lobby["recovered"]) == (3, True)
    publish(harness, "lobby", {"n": 2}, {"n": 4})
    assert [one["push"]["pub"]["data"] for one in speaker.heard()] == [{"n": 4, "seen": True}]
    assert harness.faults == 0


# Who is there.

PRESENT = """
[endpoints."/"]
protocol = "centrifuge"
[channels."room"]
presence = true
announce = true
subscribe = "channel != ''"
"""


def test_joins_and_leaves_are_pushed(tmp_path: Path) -> None:
    harness = build(PRESENT, tmp_path)
    ann = connected(harness, identity={"user": "ann"})
    subscribe(ann, "room")
    bob = connected(harness, identity={"user": "bob"})
    subscribe(bob, "room")
    pushes = [one["push"] for one in ann.heard()]
    harness.pass_time(1)
    pushes += [one["push"] for one in ann.heard()]
    info = {"user": "bob", "client": bob.client.id}
    assert {"channel": "room", "join": {"info": info}} in pushes
    harness.leave(bob.client)
    harness.pass_time(30)
    pushes = [one["push"] for one in ann.heard() if one]
    assert pushes == [{"channel": "room", "leave": {"info": info}}]


def test_a_client_that_was_refused_is_not_announced(tmp_path: Path) -> None:
    """Fault: a client whose channels did not become known in time was announced when it was told so."""
    joined = '[endpoints."/joined"]\nprotocol = "centrifuge"\nconnect = ["join room", "join kept"]\n'
    conf = f'{PRESENT}{joined}[channels."kept"]\nhistory = 5\n'
    history = SlowHistory(Clock(1000.0))
    harness = build(conf, tmp_path, history=history)
    ann = connected(harness, identity={"user": "ann"})
    subscribe(ann, "room")
    bob = Speaker(harness, "/joined", identity={"user": "bob"})
    bob.say({"id": 1, "connect": {}})
    harness.pass_time(4.5)
    assert bob.end is not None
    harness.leave(bob.client)
    history.answer()
    harness.pass_time(1)
    assert [one for one in ann.heard() if one] == []


def test_json_is_on_one_line(harness: Harness) -> None:
    speaker = connected(harness)
    subscribe(speaker, "open:a")
    publish(harness, "open:a", '{"a":\n"\\n\u2028"}', "two\r\nlines")
    messages = harness.sent(speaker.client)
    assert all("\n" not in str(message) for message in messages)
    assert [json.loads(str(one))["push"]["pub"]["data"] for one in messages] == [{"a": "\n\u2028"}, "two\r\nlines"]
