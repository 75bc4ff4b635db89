"""What clients publish, call, send and ask for, and what the `message` pipeline makes of it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.protocols.centrifuge.slow import SlowHistory
from tests.protocols.centrifuge.speaking import Speaker, connected, error
from tests.support import Clock, Harness, build

CONF = """
[endpoints."/"]
protocol = "centrifuge"
connect = ["join room"]
message = [{message}]
[endpoints."/raw"]
connect = ["join room"]
message = ["broadcast room"]
[channels."room"]
history = 50
presence = true
presence_info = ["identity.name"]
publish = "channel != ''"
[channels."news"]
subscribe = "channel != ''"
publish = "identity.role == 'editor' and message.ok == true"
"""


def harness_of(tmp_path: Path, *stages: str, **more: Any) -> Harness:
    return build(CONF.replace("{message}", ", ".join(map(json.dumps, stages))), tmp_path, **more)


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return harness_of(tmp_path)


def ask(speaker: Speaker, command: str, **request: Any) -> Any:
    """Say a command. Returns its result, or the code and message of its error."""
    reply = next(one for one in speaker.say({"id": 7, command: request}) if one.get("id") == 7)
    return error(reply) if "error" in reply else reply[command]


# Publishing.


def test_a_publication_says_who_it_comes_from(harness: Harness) -> None:
    ann = connected(harness, identity={"user": "ann", "name": "Ann"})
    bob = connected(harness)
    assert ask(ann, "publish", channel="room", data={"text": "hi"}) == {}
    (push,) = bob.heard()
    assert push == {
        "push": {
            "channel": "room",
            "pub": {
                "data": {"text": "hi"},
                "info": {"user": "ann", "client": ann.client.id, "chan_info": {"name": "Ann"}},
                "offset": 1,
            },
        }
    }


@pytest.mark.parametrize(
    ("said", "data"),
    [
        ("text", "text"),
        ('{"a": 1,\n "b": [2]}', {"a": 1, "b": [2]}),
        ("[1, 2]", [1, 2]),
        ('{"a": 1', '{"a": 1'),
        ("12", "12"),
        ('"quoted"', '"quoted"'),
        ("null", "null"),
        ("", ""),
        (" {}", " {}"),
        ("two\nlines\r\n\u2028", "two\nlines\r\n\u2028"),
        (b"\x00\xff", {"base64": "AP8="}),
        (b"", {"base64": ""}),
        ("[" * 101 + "]" * 101, "[" * 101 + "]" * 101),
        ("[1e999]", "[1e999]"),
        ('["\\ud83d"]', '["\\ud83d"]'),
    ],
)
def test_what_a_raw_client_publishes(harness: Harness, said: str | bytes, data: Any) -> None:
    raw, speaker = harness.connect("/raw"), connected(harness)
    harness.client_says(raw, said)
    (push,) = speaker.heard()
    assert push["push"]["pub"]["data"] == data
    page = ask(speaker, "history", channel="room", limit=1)
    assert page["publications"][0]["data"] == data


def test_what_raw_clients_get_of_a_publication(harness: Harness) -> None:
    raw, speaker = harness.connect("/raw"), connected(harness)
    for data in ({"a": 1}, "text", None, 5):
        ask(speaker, "publish", channel="room", data=data)
    assert harness.sent(raw) == ['{"a":1}', "text", "null", "5"]


@pytest.mark.parametrize(
    ("channel", "data", "role", "code"),
    [
        ("news", {"ok": True}, "editor", None),
        ("news", {"ok": False}, "editor", 103),
        ("news", {"ok": True}, "reader", 103),
        ("unknown", {}, "editor", 103),
        ("ro*m", {}, "editor", 107),
        ("a\u0000b", {}, "editor", 107),
    ],
)
def test_who_may_publish(harness: Harness, channel: str, data: Any, role: str, code: int | None) -> None:
    speaker = connected(harness, identity={"role": role})
    result = ask(speaker, "publish", channel=channel, data=data)
    assert (result if code is None else result[0]) == (code or {})


def test_the_pipeline_changes_and_drops_publications(tmp_path: Path) -> None:
    harness = harness_of(tmp_path, "when message.text != 'bad'", "set kind={call.kind} channel={call.channel}")
    speaker = connected(harness)
    push, reply = speaker.say({"id": 2, "publish": {"channel": "room", "data": {"text": "a"}}})
    assert push["push"]["pub"]["data"] == {"text": "a", "kind": "publish", "channel": "room"}
    assert reply == {"id": 2, "publish": {}}
    assert ask(speaker, "publish", channel="room", data={"text": "bad"}) == (103, "A filter has dropped it.")


def test_a_list_becomes_several_publications(tmp_path: Path) -> None:
    harness = harness_of(tmp_path, "split", "when message != 2")
    speaker = connected(harness)
    *pushes, reply = speaker.say({"id": 2, "publish": {"channel": "room", "data": [1, 2, 3]}})
    assert [one["push"]["pub"]["data"] for one in pushes] == [1, 3]
    assert reply == {"id": 2, "publish": {}}
    assert ask(speaker, "rpc", method="m", data=[1, 2, 3]) == {"data": [1, 3]}


def test_fields_that_are_not_served(harness: Harness) -> None:
    assert ask(connected(harness), "publish", channel="room", data=1, type=1) == (108, "not available")


# RPC and messages.


def test_conditions_and_placeholders_know_the_call(tmp_path: Path) -> None:
    harness = harness_of(
        tmp_path, "when call.kind == 'rpc' and call.method == 'sum'", "set m={call.method} k={call.kind}"
    )
    speaker = connected(harness)
    assert ask(speaker, "rpc", method="sum", data={}) == {"data": {"m": "sum", "k": "rpc"}}
    assert ask(speaker, "rpc", method="other", data={}) == (103, "A filter has dropped it.")
    assert ask(speaker, "rpc") == (103, "A filter has dropped it.")


def test_a_message_gets_an_answer_only_if_it_has_an_id(tmp_path: Path) -> None:
    speaker = connected(harness_of(tmp_path, "reply heard"))
    heard = {"push": {"message": {"data": "heard"}}}
    assert speaker.say({"send": {"data": 1}}) == [heard]
    assert speaker.say({"id": 2, "send": {"data": 1}}) == [heard, {"id": 2, "send": {}}]


BROKEN = """
from fws import Close, Filter, Reject


class Broken(Filter):
    def message(self, client, message):
        if message == "reject":
            raise Reject(404, "no such thing")
        if message == "close":
            raise Close(4000, "enough")
        if message == "object":
            return object()
        if message == "fill":
            raise KeyError("secret of the server")
        return None
"""


@pytest.mark.parametrize("command", ["publish", "rpc", "send"])
def test_each_command_is_answered_whatever_filters_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, command: str
) -> None:
    harness = harness_of(tmp_path, "broken", pipelines={"broken": BROKEN})
    speaker = connected(harness)

    def say(data: str) -> Any:
        more = {"channel": "room"} if command == "publish" else {}
        return ask(speaker, command, data=data, **more)

    assert say("reject") == (104, "no such thing")
    assert harness.faults == 0
    assert say("fill")[0] == 100
    assert harness.faults == 1
    if command != "send":
        assert say("object")[0] == 100
        assert harness.faults == 2
    assert "secret" not in json.dumps(speaker.heard())
    speaker.say({"id": 3, command: {"channel": "room", "data": "close"}})
    assert speaker.end == (4000, "enough")


def test_a_placeholder_without_a_value_is_a_bad_request(tmp_path: Path) -> None:
    harness = harness_of(tmp_path, "set to={message.to}")
    assert ask(connected(harness), "rpc", data={"a": 1}) == (
        107,
        "The message lacks something that is needed here.",
    )


def test_errors_are_logged_once_and_without_data(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    harness = harness_of(tmp_path, "require false == message.secret")
    speaker = connected(harness)
    for number in range(50):
        ask(speaker, "rpc", method=f"m{number}", data={"secret": "s3cret"})
        ask(speaker, "subscribe", channel=f"news{number}", token="t0ken")
    assert "s3cret" not in caplog.text
    assert "t0ken" not in caplog.text
    assert "not allowed (rpc m0, connected to /)" in caplog.text
    assert "This channel is not for you. (subscribe news0, connected to /)" in caplog.text
    assert len(caplog.records) <= 4


# History.


@pytest.fixture
def full(harness: Harness) -> Harness:
    for number in range(1, 6):
        harness.channels.publish("room", number)
    harness.settle()
    return harness


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        ({}, []),
        ({"limit": 2}, [1, 2]),
        ({"limit": -1}, [1, 2, 3, 4, 5]),
        ({"limit": 2**31 - 1}, [1, 2, 3, 4, 5]),
        ({"limit": 2, "reverse": True}, [5, 4]),
        ({"limit": 2, "since": {"offset": 2}}, [3, 4]),
        ({"limit": 9, "since": {"offset": 3}, "reverse": True}, [2, 1]),
        ({"limit": 9, "since": {"offset": 5}}, []),
    ],
)
def test_history(full: Harness, request_: dict[str, Any], found: list[int]) -> None:
    page = ask(connected(full), "history", channel="room", **request_)
    assert [one["data"] for one in page.get("publications", [])] == found
    assert page["offset"] == 5
    assert page["epoch"]


@pytest.mark.parametrize("since", [{"offset": 9}, {"epoch": "other", "offset": 1}, {"epoch": "%:1", "offset": 1}])
def test_a_position_that_no_history_has(full: Harness, since: dict[str, Any]) -> None:
    found = ask(connected(full), "history", channel="room", limit=5, since=since)
    assert found == (112, "unrecoverable position")


def test_queries_are_for_members(full: Harness) -> None:
    speaker = connected(full)
    for command in ("history", "presence", "presence_stats"):
        assert ask(speaker, command, channel="news") == (103, "Only members of a channel may ask about it.")
        assert ask(speaker, command) == (103, "Only members of a channel may ask about it.")
    ask(speaker, "subscribe", channel="news")
    for command in ("history", "presence", "presence_stats"):
        assert ask(speaker, command, channel="news") == (108, "not available")


def test_a_history_that_answers_after_its_client_has_gone(tmp_path: Path) -> None:
    history = SlowHistory(Clock(1000.0))
    harness = harness_of(tmp_path, history=history)
    speaker = Speaker(harness)
    speaker.say({"id": 1, "connect": {}})
    history.answer()
    assert len(speaker.heard()) == 1
    speaker.say({"id": 2, "history": {"channel": "room", "limit": 1}})
    harness.leave(speaker.client)
    history.answer()
    assert speaker.heard() == []
    assert harness.faults == 0


def test_presence(harness: Harness) -> None:
    ann = connected(harness, identity={"user": "ann", "name": "Ann"})
    connected(harness, identity={"user": "ann"})
    connected(harness)
    present = ask(ann, "presence", channel="room")["presence"]
    assert len(present) == 3
    assert present[ann.client.id] == {
        "user": "ann",
        "client": ann.client.id,
        "chan_info": {"name": "Ann"},
    }
    assert ask(ann, "presence_stats", channel="room") == {"num_clients": 3, "num_users": 2}


# Broadcasts, which belong to no channel.


def test_a_broadcast_is_a_message(harness: Harness) -> None:
    speaker = connected(harness)
    for message in ("text", {"a": 1}, b"\x00"):
        harness.channels.broadcast(message)
    assert [one["push"]["message"]["data"] for one in speaker.heard()] == ["text", {"a": 1}, {"base64": "AA=="}]
