"""The life of a session: what comes before `connect`, during it, and how connections end."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from fws.base.close_codes import GOING_AWAY
from fws.compiler.compile import load_generation
from fws.wire.framing import Transport
from tests.protocols.centrifuge.slow import SlowHistory
from tests.protocols.centrifuge.speaking import CONNECT, Speaker, connected, error
from tests.support import Clock, Harness, build

CONF = """
[limits]
max_outbox = "64KiB"
[endpoints."/"]
protocol = "centrifuge"
message = ["when call.kind == 'rpc'", "set method={call.method}"]
[endpoints."/joined"]
protocol = "centrifuge"
connect = ["join lobby", "join news"]
[endpoints."/refused"]
protocol = "centrifuge"
connect = ["join lobby", "reject 403 'not you'"]
[channels."lobby"]
history = 5
[channels."open:*"]
history = 5
subscribe = "channel != ''"
publish = "channel != ''"
"""
REST = """
import gevent
from fws import Filter


class Rest(Filter):
    "Waits until a test goes on."

    gates = {}

    def connect(self, client):
        gate = self.gates[client.id] = gevent.event.Event()
        gate.wait(5)
"""
TRANSPORTS: tuple[Transport, ...] = ("websocket", "sse", "http_stream")


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return build(CONF, tmp_path)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_connect_is_answered_over_each_transport(harness: Harness, transport: Transport) -> None:
    speaker = Speaker(harness, transport=transport)
    assert speaker.heard() == []
    reply = speaker.connect()["connect"]
    assert (reply["client"], reply["ping"]) == (speaker.client.id, 25)
    assert reply.get("pong", False) is (transport == "websocket")
    assert bool(reply.get("session")) is bool(reply.get("node")) is (transport != "websocket")


def test_a_session_over_plain_http_is_forgotten_with_its_client(harness: Harness) -> None:
    speaker = connected(harness, transport="sse")
    assert list(harness.node.sessions.values()) == [speaker.client]
    harness.leave(speaker.client)
    assert harness.node.sessions == {}


def test_several_commands_in_one_message(harness: Harness) -> None:
    replies = Speaker(harness).say(
        CONNECT, {"id": 2, "rpc": {"method": "m", "data": {}}}, "", {"id": 3, "ping": {}}, {"id": 4, "send": {}}, ""
    )
    assert [reply["id"] for reply in replies] == [1, 2, 3, 4]
    assert replies[1]["rpc"] == {"data": {"method": "m"}}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("hello", "a command cannot be read: this is not JSON"),
        ("[]", "a command cannot be read: this is not JSON"),
        ('{"id":1,"rpc":{"method":5}}', "a command cannot be read: this is not JSON"),
        ('{"id":-1,"ping":{}}', "a command cannot be read: this is not JSON"),
        ('{"id":1,"rpc":{"data":' + "[" * 101 + "]" * 101 + "}}", "a command cannot be read: this JSON is nested"),
        ('{"id":1,"rpc":{"data":[' + "[]," * 20_001 + "[]]}}", "a command cannot be read: this JSON is too large"),
        ('{"subscribe":{"channel":"a"}}', "subscribe needs an id"),
        ('{"id":1,"connect":{}}', "the first command, and only the first, is connect"),
        ('{"id":1,"subscribe":{}}', "subscribe needs a channel"),
        ('{"id":1,"unsubscribe":{}}', "unsubscribe needs a channel"),
        ('{"id":1,"publish":{}}', "publish needs a channel"),
        ('{"id":1,"refresh":{}}', "refresh needs a token"),
        ('{"id":1,"sub_refresh":{"channel":"a"}}', "sub_refresh needs a channel and a token"),
    ],
)
def test_who_breaks_the_protocol_is_disconnected(
    harness: Harness, caplog: pytest.LogCaptureFixture, line: str, why: str
) -> None:
    caplog.set_level(logging.INFO)
    speaker = connected(harness)
    speaker.say(line)
    end = speaker.end
    assert end is not None
    assert end[0] == 3501
    assert end[1].startswith(why)
    assert list(harness.counted("protocol_errors").values()) == [1]
    assert why in caplog.text
    assert "Traceback" not in caplog.text


def test_commands_before_connect_break_the_protocol(harness: Harness) -> None:
    speaker = Speaker(harness)
    speaker.say({"id": 1, "subscribe": {"channel": "open:a"}})
    assert speaker.end == (3501, "the first command, and only the first, is connect")


def test_binary_messages_are_for_another_protocol(harness: Harness) -> None:
    speaker = Speaker(harness)
    harness.client_says(speaker.client, b"\x02\x08\x01")
    end = speaker.end
    assert end is not None
    assert end[0] == 3506


def test_a_command_without_a_request_is_not_found_or_a_pong(harness: Harness) -> None:
    speaker = connected(harness)
    assert speaker.say({"id": 2}, {"id": 3, "dance": {}}) == [
        {"id": 2, "error": {"code": 104, "message": "method not found"}},
        {"id": 3, "error": {"code": 104, "message": "method not found"}},
    ]
    assert speaker.say("{}", {"unknown": 1}) == []
    assert speaker.end is None


def test_a_message_has_a_limited_number_of_lines(harness: Harness) -> None:
    speaker = connected(harness)
    speaker.say("\n".join(["{}"] * 2001))
    end = speaker.end
    assert end is not None
    assert end[0] == 3503
    assert "2000 lines" in end[1]


def test_half_an_emoji_in_a_large_command_is_replaced(harness: Harness) -> None:
    """Fault: with more than 100 brackets, the client was disconnected."""
    speaker = connected(harness)
    data = '[{"text":"\\ud83d"}' + ",[]" * 101 + "]"
    reply = speaker.say(f'{{"id":2,"send":{{"data":{data}}}}}')
    assert reply == [{"id": 2, "send": {}}]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_client_that_does_not_connect_is_stale(harness: Harness, transport: Transport) -> None:
    speaker = Speaker(harness, transport=transport)
    harness.pass_time(11)
    heard = speaker.heard()
    if transport == "websocket":
        assert speaker.end == (3502, "no connect command in time")
    else:
        assert heard == [{"push": {"disconnect": {"code": 3502, "reason": "no connect command in time"}}}]


# How `connect` is refused.


def test_a_refused_client_leaves_no_trace_but_in_the_log(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    speaker = Speaker(harness, "/refused")
    assert speaker.connect() == {}
    assert speaker.end == (3507, "not you")
    assert harness.channels.channels() == []
    assert list(harness.counted("refused").values()) == [1]
    assert "refused 192.0.2.1: 403 not you (connected to /refused)" in caplog.text


@pytest.mark.parametrize(
    ("status", "code", "end"),
    [
        (400, 0, 3501),
        (401, 0, 3500),
        (403, 0, 3507),
        (404, 0, 3507),
        (410, 0, 3507),
        (429, 111, 3013),
        (503, 100, 3004),
    ],
)
def test_the_codes_of_a_refusal(tmp_path: Path, status: int, code: int, end: int) -> None:
    harness = build(f'[pipelines]\nconnect = ["reject {status} why"]\n[endpoints."/"]\nprotocol="centrifuge"', tmp_path)
    speaker = Speaker(harness)
    reply = speaker.connect()
    # An error is told where the client should try again. SDKs would report any other instead of the end's code.
    assert reply == ({"id": 1, "error": {"code": code, "message": "why", "temporary": True}} if code else {})
    assert speaker.end == (end, "why")


def test_what_connect_sends_comes_after_its_reply(tmp_path: Path) -> None:
    conf = '[endpoints."/"]\nprotocol = "centrifuge"\nconnect = ["reply hello", "reply {call.data.name}"]'
    speaker = Speaker(build(conf.replace(', "reply {call.data.name}"', ""), tmp_path))
    replies = speaker.say({"id": 1, "connect": {"data": {"name": "ann"}}})
    assert "connect" in replies[0]
    assert replies[1:] == [{"push": {"message": {"data": "hello"}}}]


def test_the_data_of_connect_is_for_conditions(tmp_path: Path) -> None:
    conf = """[endpoints."/"]\nprotocol = "centrifuge"\nconnect = ["require call.data.version == 2"]"""
    harness = build(conf, tmp_path)
    assert "connect" in Speaker(harness).connect(data={"version": 2})
    for refused in ({"data": {"version": 1}}, {}):
        speaker = Speaker(harness)
        assert speaker.connect(**refused) == {}
        assert speaker.end is not None
        assert speaker.end[0] == 3507


# While `connect` is under way.


def slow_harness(tmp_path: Path) -> tuple[Harness, SlowHistory]:
    history = SlowHistory(Clock(1000.0))
    slow = '[endpoints."/slow"]\nprotocol = "centrifuge"\nconnect = ["rest", "join lobby"]\n'
    return build(CONF + slow, tmp_path, history=history, pipelines={"rest": REST}), history


def test_commands_wait_until_the_channels_of_connect_are_known(tmp_path: Path) -> None:
    harness, history = slow_harness(tmp_path)
    speaker = Speaker(harness, "/joined")
    assert speaker.say(CONNECT, {"id": 2, "ping": {}}) == []
    assert speaker.say({"id": 3, "ping": {}}) == []
    history.answer()
    replies = speaker.heard()
    assert [reply["id"] for reply in replies] == [1, 2, 3]
    assert set(replies[0]["connect"]["subs"]) == {"lobby", "news"}


def test_commands_that_wait_are_served_in_the_loop(tmp_path: Path) -> None:
    """Fault: they were served in the greenlet that reads Redis's answers. That would have ended with a switch to the
    client's greenlet, and Redis would not have been read any more."""
    conf = CONF.replace('connect = ["join lobby", "join news"]', 'connect = ["join lobby"]\nmessage = ["where"]')
    where = """
from gevent import getcurrent
from fws import Filter


class Where(Filter):
    "May block."

    seen = []

    def message(self, client, message):
        self.seen.append(getcurrent())
"""
    history = SlowHistory(Clock(1000.0))
    harness = build(conf, tmp_path, history=history, pipelines={"where": where})
    speaker = Speaker(harness, "/joined")
    speaker.say(CONNECT, {"id": 2, "send": {}})
    history.answer()
    instance: Any = next(step.instance for step in speaker.client.endpoint.message.walk())
    seen = instance.seen
    assert seen == []
    assert [reply["id"] for reply in speaker.heard()] == [1, 2]
    assert len(seen) == 1


@pytest.mark.parametrize("line", ["{}", '{"id":2,"rpc":{"data":"' + "x" * 5000 + '"}}'])
def test_not_too_many_commands_wait(tmp_path: Path, line: str) -> None:
    harness, _ = slow_harness(tmp_path)
    speaker = Speaker(harness, "/joined")
    speaker.say(CONNECT)
    for _ in range(25):
        speaker.say("\n".join([line] * 100))
        if speaker.client.closing:
            break
    assert speaker.end == (3013, "too many commands before the connection is open")


def test_a_pipeline_that_hangs_ends_the_connection(tmp_path: Path) -> None:
    """Fault: the limit on time ended with the first command, so that a filter could keep a connection for ever."""
    harness, _ = slow_harness(tmp_path)
    speaker = Speaker(harness, "/slow")
    speaker.say(CONNECT)
    harness.pass_time(11)
    assert speaker.end == (3004, "The server took too long to decide.")


def test_a_channel_of_connect_that_does_not_become_known_ends_it(tmp_path: Path) -> None:
    harness, history = slow_harness(tmp_path)
    speaker = Speaker(harness, "/joined")
    speaker.say(CONNECT)
    harness.pass_time(4.5)
    (reply,) = speaker.heard()
    assert error(reply) == (100, "The server took too long to decide.")
    assert reply["error"]["temporary"]
    assert speaker.end == (3004, "The server took too long to decide.")
    harness.leave(speaker.client)
    history.answer()
    assert speaker.heard() == []
    assert harness.node.sessions == {}


def test_a_client_that_is_killed_while_its_connect_pipeline_blocks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Fault: the end of its greenlet was logged as the fault of a filter, because only `connect` blocks here."""
    harness, _ = slow_harness(tmp_path)
    speaker = Speaker(harness, "/slow", settle=False)
    harness.arrive_now(speaker.client, json.dumps(CONNECT))
    assert speaker.client.busy
    speaker.client.kill()
    harness.settle()
    assert harness.faults == 0
    assert "Traceback" not in caplog.text
    assert harness.channels.channels() == []
    assert speaker.client.id not in harness.hub.clients


def test_a_reload_before_connect_lets_its_new_pipeline_block(tmp_path: Path) -> None:
    """Fault: the client had no greenlet for the new pipeline, which then would have blocked the event loop."""
    harness, _ = slow_harness(tmp_path)
    speaker = Speaker(harness)
    file = tmp_path / "test.toml"
    file.write_text(CONF.replace('message = ["when', 'connect = ["rest"]\nmessage = ["when'))
    harness.node.swap(load_generation(file, harness.generation.services, {}))
    harness.arrive_now(speaker.client, json.dumps(CONNECT))
    assert speaker.client.busy
    instance: Any = next(step.instance for step in speaker.client.endpoint.connect.walk())
    instance.gates[speaker.client.id].set()
    assert [reply["id"] for reply in speaker.heard()] == [1]
    assert harness.faults == 0


# How connections end.


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("code", "reason", "end"),
    [
        (GOING_AWAY, "", (3001, "shutdown")),
        (1008, "why", (3503, "why")),
        (1009, "", (3501, "bad request")),
        (1011, "", (3004, "internal server error")),
        (1012, "", (3001, "shutdown")),
        (4401, "why", (3500, "why")),
        (4429, "of an application", (4429, "of an application")),
        (4500, "of an application", (4500, "of an application")),
        (1000, "bye", (1000, "bye")),
        (4000, "own", (4000, "own")),
    ],
)
def test_how_close_codes_are_told(
    harness: Harness, transport: Transport, code: int, reason: str, end: tuple[int, str]
) -> None:
    speaker = connected(harness, transport=transport)
    speaker.client.close(code, reason)
    heard = speaker.heard()
    if transport == "websocket":
        assert speaker.end == end
    else:
        assert heard == [{"push": {"disconnect": {"code": end[0], "reason": end[1]}}}]
        assert harness.peers[speaker.client].wire.ended
    assert (speaker.client.close_code, speaker.client.close_reason) == end


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_slow_consumer_is_told_so(harness: Harness, transport: Transport) -> None:
    speaker = connected(harness, "/joined", transport=transport)
    wire = harness.peers[speaker.client].wire
    wire.full = True
    for _ in range(10):
        harness.channels.publish("news", "x" * 10_000)
        harness.settle()
    assert speaker.client.close_code == 3008
    wire.drain()
    if transport != "websocket":
        assert speaker.heard()[-1] == {"push": {"disconnect": {"code": 3008, "reason": "too slow"}}}


def test_pings_are_answered_in_the_protocol(harness: Harness) -> None:
    speaker = connected(harness)
    for _ in range(3):
        harness.pass_time(26)
        assert speaker.heard() == [{}]
        speaker.say("{}")
    harness.pass_time(26)
    harness.pass_time(26)
    assert speaker.end == (3012, "no answer to a ping")


@pytest.mark.parametrize("transport", ["sse", "http_stream"])
def test_the_machine_of_a_client_over_http_answers_pings(harness: Harness, transport: Transport) -> None:
    speaker = connected(harness, transport=transport)
    for _ in range(4):
        harness.pass_time(26)
        assert speaker.heard() == [{}]
    wire = harness.peers[speaker.client].wire
    harness.pass_time(26)
    wire.under_way = 1
    harness.pass_time(1)
    harness.pass_time(26)
    assert wire.aborted
    assert speaker.client.close_code == 1006


def test_a_reload_that_changes_the_protocol_ends_the_connection(tmp_path: Path) -> None:
    harness = build(CONF, tmp_path)
    speaker = connected(harness)
    raw = build('[endpoints."/"]\nmessage = ["echo"]', tmp_path)
    client = raw.connect()
    (tmp_path / "raw.toml").write_text('[endpoints."/"]\nmessage = ["echo"]')
    (tmp_path / "test.toml").write_text(CONF)
    for one, file in ((harness, "raw.toml"), (raw, "test.toml")):
        one.node.swap(load_generation(tmp_path / file, one.generation.services, {}))
    assert speaker.end == (3001, "the endpoint speaks another protocol now")
    assert raw.closed(client) == (1012, "the endpoint speaks another protocol now")


def test_after_the_end_nothing_is_served(harness: Harness) -> None:
    speaker = connected(harness)
    assert speaker.say({"id": 2, "publish": {}}, {"id": 3, "ping": {}}) == []


@pytest.mark.parametrize("transport", ["sse", "http_stream"])
def test_the_commands_of_a_request_have_the_limit_of_the_endpoint(tmp_path: Path, transport: Transport) -> None:
    """Fault: the path for commands takes twice as much as the largest limit, and no other limit applied."""
    conf = '[endpoints."/"]\nprotocol = "centrifuge"\nmax_message = "1KiB"\n'
    harness = build(conf, tmp_path)
    speaker = connected(harness, transport=transport)
    line: dict[str, Any] = {"id": 2, "send": {"data": "x" * 900}}
    assert speaker.say(line) == [{"id": 2, "send": {}}]
    (push,) = speaker.say({"id": 3, "send": {"data": "é" * 500}})
    assert push["push"]["disconnect"]["code"] == 3501
