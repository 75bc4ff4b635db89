"""The protocol `raw` over server-sent events."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fws.pipeline.publication import Publication
from fws.protocols.events import Events, EventSession
from fws.wire.framing import EVENTS
from tests.support import Harness, build
from tests.wire.events import Event, parse_events

CONF = """
[limits]
ping_interval = "20s"
[endpoints."/room"]
transports = ["websocket", "sse"]
connect = ["reply hello", "join room"]
message = ["broadcast room"]
[endpoints."/plain"]
transports = ["sse"]
connect = ["join plain"]
[endpoints."/token"]
transports = ["sse"]
connect = ["token 0123456789abcdef"]
[channels."room"]
history = 3
"""
TEXT = st.text(st.characters(codec="utf-8") | st.sampled_from("\r\n\0: \u2028\u0085\ufeff"))


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return build(CONF, tmp_path)


def events(harness: Harness, client: Any) -> list[Event]:
    harness.settle()
    return parse_events(harness.peers[client].take().decode())


def one_line_end(text: str) -> str:
    """An event stream cannot say which line end a text has."""
    return re.sub("\r\n|\r", "\n", text)


@settings(deadline=None)
@given(TEXT)
def test_an_event_is_read_as_it_was_written(text: str) -> None:
    stream = "data: first\n\n" + EVENTS.text(text.encode()).decode() + "data: last\n\n"
    assert [one.data for one in parse_events(stream)] == ["first", one_line_end(text), "last"]


@settings(deadline=None)
@given(TEXT | st.binary(), st.integers(1, 10**13 - 1), st.sampled_from(["aB_-9", "x"]))
def test_a_message_cannot_make_a_second_event(message: str | bytes, offset: int, epoch: str) -> None:
    frame = Events(each=False).frame(Publication("a", message, offset=offset, epoch=epoch))
    (event,) = parse_events(frame.decode())
    assert (event.name, event.id) == ("message", f"{epoch}:{offset}")
    if isinstance(message, str):
        assert event.data == one_line_end(message)
    else:
        assert set(json.loads(event.data)) == {"base64"}


@settings(deadline=None)
@given(st.integers(1000, 4999), TEXT)
def test_a_farewell_is_one_event(code: int, reason: str) -> None:
    session = EventSession(None, "")  # type: ignore[arg-type]  # it says nothing to its client here
    (event,) = parse_events(session.farewell(code, reason).decode())
    assert event.name == "close"
    assert json.loads(event.data) == {"code": code, "reason": reason}


def test_a_client_gets_events_with_positions(harness: Harness) -> None:
    client = harness.connect("/room", transport="sse")
    harness.channels.publish("room", "one")
    harness.channels.publish("room", {"two": 2})
    hello, first, second = events(harness, client)
    assert hello == Event("hello")
    assert (first.data, second.data) == ("one", '{"two":2}')
    assert first.id.endswith(":1")
    assert second.id.endswith(":2")


def test_a_client_that_returns_gets_what_it_has_missed(harness: Harness) -> None:
    client = harness.connect("/room", transport="sse")
    harness.channels.publish("room", 1)
    last = events(harness, client)[-1].id
    harness.leave(client)
    for number in (2, 3):
        harness.channels.publish("room", number)
    client = harness.connect("/room", transport="sse", headers={"Last-Event-ID": last})
    assert [one.data for one in events(harness, client)] == ["hello", "2", "3"]
    for _ in range(5):
        harness.channels.publish("room", 4)
    client = harness.connect("/room", transport="sse", headers={"Last-Event-ID": last})
    found = events(harness, client)
    assert json.loads(found[1].data)["type"] == "gap"


@pytest.mark.parametrize("last", ["x", "a:b", "a:" + "9" * 400, ":", "%0a%0d:1", "é:1", "a:1:2", "-" * 1000])
def test_hostile_positions(harness: Harness, last: str) -> None:
    harness.channels.publish("room", 1)
    client = harness.connect("/room", transport="sse", headers={"Last-Event-ID": last})
    found = events(harness, client)
    assert [one.name for one in found] == ["message"] * len(found)
    assert len(last) < 2 or last not in str(found)
    assert harness.faults == 0


def test_a_client_cannot_say_anything(harness: Harness) -> None:
    client = harness.connect("/room", transport="sse", commands="hello")
    other = harness.connect("/room")
    client.hear("hello")
    harness.arrive(client, harness.peers[other].frame("hello") * 3)
    assert harness.sent(other) == ["hello"]
    assert not client.closing


def test_a_client_without_a_token_is_refused_at_once(harness: Harness) -> None:
    with pytest.raises(Exception, match="401"):
        harness.connect("/token", transport="sse")
    assert harness.hub.clients == {}


def test_how_it_ends(harness: Harness) -> None:
    client = harness.connect("/plain", transport="sse")
    harness.pass_time(21)
    assert harness.peers[client].take() == b": ping\n\n"
    client.close(1001, "the server\nis shutting down")
    (event,) = events(harness, client)
    assert event == Event('{"code":1001,"reason":"the server\\nis shutting down"}', "close")
    assert harness.peers[client].wire.ended
