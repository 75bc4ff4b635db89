"""What the built-in filters do with the calls of clients. What each does otherwise is tested in tests/filters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest

from tests.protocols.centrifuge.speaking import Speaker, connected, error
from tests.support import Harness, build


def harness_of(tmp_path: Path, *stages: str, more: str = "") -> Harness:
    conf = f"""
[endpoints."/"]
protocol = "centrifuge"
connect = ["join room"]
message = {json.dumps(stages)}
{more}
[endpoints."/raw"]
message = {json.dumps(["json", *stages, "broadcast room"])}
[channels."room"]
publish = "channel != ''"
"""
    return build(conf, tmp_path)


def rpc(speaker: Speaker, data: Any = None, **more: Any) -> Any:
    """Call a method. Returns the data of the result, or the code and message of the error."""
    reply = next(one for one in speaker.say({"id": 7, "rpc": {"data": data, **more}}) if one.get("id") == 7)
    return error(reply) if "error" in reply else reply["rpc"].get("data")


REFUSALS = [
    ("rate_limit 1/min{}", [1, 1], "on_excess", (111, "too fast"), 1008),
    ("max_message 8B{}", ["x" * 20], "on_excess", (107, "a message has at most 8 bytes"), 1009),
    ("split max_items=2{}", [[1, 2, 3]], "on_excess", (107, "a list has at most 2 items"), 1009),
    ("require{} message.ok == true", [{"ok": False}], "on_refusal", (103, "not allowed"), 1008),
]


@pytest.mark.parametrize("how", ["drop", "reply", "close"])
@pytest.mark.parametrize(("stage", "said", "option", "failure", "code"), REFUSALS)
def test_a_filter_that_refuses_a_message_lets_a_call_fail_with_the_reason(
    tmp_path: Path, how: str, stage: str, said: list[Any], option: str, failure: tuple[int, str], code: int
) -> None:
    """Fault: with `close`, a client that was too fast was told to stay away for good, by 3503."""
    harness = harness_of(tmp_path, stage.format(f" {option}={how}"))
    speaker = connected(harness)
    *before, last = said
    for data in before:
        rpc(speaker, data)
    if how == "close":
        speaker.say({"id": 7, "rpc": {"data": last}})
        assert speaker.end == ({111: 3013, 107: 3501, 103: 3507}[failure[0]], failure[1])
    else:
        heard = speaker.say({"id": 7, "rpc": {"data": last}})
        assert [error(one) for one in heard] == [failure]
        assert heard[0]["error"].get("temporary", False) is (failure[0] == 111)
    assert harness.faults == 0


@pytest.mark.parametrize("how", ["drop", "reply", "close"])
@pytest.mark.parametrize(("stage", "said", "option", "failure", "code"), REFUSALS)
def test_in_the_protocol_raw_nothing_has_changed(
    tmp_path: Path, how: str, stage: str, said: list[Any], option: str, failure: tuple[int, str], code: int
) -> None:
    harness = harness_of(tmp_path, stage.format(f" {option}={how}"))
    client = harness.connect("/raw")
    harness.client_says(client, *(json.dumps(one) for one in said))
    assert harness.sent(client) == (
        [json.dumps({"error": failure[1]}, separators=(",", ":"))] if how == "reply" else []
    )
    assert harness.closed(client) == ((code, failure[1]) if how == "close" else None)


def test_json_decodes_texts(tmp_path: Path) -> None:
    speaker = connected(harness_of(tmp_path, "json on_error=reply"))
    assert rpc(speaker, '{"a":[1]}') == {"a": [1]}
    assert rpc(speaker, {"a": 1}) == {"a": 1}
    assert rpc(speaker, "{") == (107, "this is not JSON")


@pytest.mark.parametrize(
    ("stage", "data", "result"),
    [
        ("echo", 5, 5),
        ("drop", 5, (103, "A filter has dropped it.")),
        ("set a=1", {"b": 2}, {"b": 2, "a": 1}),
        ("pick a", {"a": 1, "b": 2}, {"a": 1}),
        ("omit a", {"a": 1, "b": 2}, {"b": 2}),
        ("text", {"a": 1}, {"a": 1}),
        ("when message == 1", 1, 1),
        ("when message == 1", 2, (103, "A filter has dropped it.")),
        ("log", "x", "x"),
        ("count x", "x", "x"),
        ("dedupe", {"id": 1}, {"id": 1}),
        ("split", [1, [2]], [1, [2]]),
        ("broadcast room", 1, 1),
        ("join other", 1, 1),
        ("subscribe room", 1, 1),
        ("subscribe other", 1, (103, "A filter has dropped it.")),
    ],
)
def test_what_remains_is_the_result(tmp_path: Path, stage: str, data: Any, result: Any) -> None:
    harness = harness_of(tmp_path, stage)
    assert rpc(connected(harness), data) == result
    assert harness.faults == 0


def test_a_repeated_message_is_denied(tmp_path: Path) -> None:
    speaker = connected(harness_of(tmp_path, "dedupe"))
    assert rpc(speaker, {"id": "a"}) == {"id": "a"}
    assert rpc(speaker, {"id": "a"}) == (103, "A filter has dropped it.")


def test_skip_sender(tmp_path: Path) -> None:
    harness = harness_of(tmp_path, more='deliver = ["skip_sender"]')
    ann, bob = connected(harness), connected(harness)
    assert ann.say({"id": 2, "publish": {"channel": "room", "data": 1}}) == [{"id": 2, "publish": {}}]
    assert bob.heard()[0]["push"]["pub"]["data"] == 1


def test_ack_takes_acknowledgements_as_messages(tmp_path: Path) -> None:
    harness = harness_of(tmp_path, "ack", more='deliver = ["ack"]')
    ann, bob = connected(harness), connected(harness)
    ann.say({"id": 2, "publish": {"channel": "room", "data": {"id": "m"}}})
    (push,) = bob.heard()
    number = push["push"]["pub"]["data"]["ack"]
    assert bob.say({"send": {"data": {"ack": number}}}) == []
    harness.pass_time(6)
    assert bob.heard() == []
    assert any(one["push"]["pub"]["data"].get("id") == "m" for one in ann.heard()), "she has not acknowledged it"
    assert harness.faults == 0


def test_rate_limits_of_connections_and_subscriptions(tmp_path: Path) -> None:
    conf = """
[endpoints."/"]
protocol = "centrifuge"
connect = ["rate_limit 2/min burst=2 by=address"]
subscribe = ["rate_limit 1/min"]
[channels."*"]
subscribe = "channel != ''"
"""
    harness = build(conf, tmp_path)
    speaker = connected(harness)
    replies = speaker.say(*({"id": 2 + n, "subscribe": {"channel": f"c{n}"}} for n in range(2)))
    assert "subscribe" in replies[0]
    assert error(replies[1]) == (111, "Too many subscriptions, try again later.")
    connected(harness)
    third = Speaker(harness)
    assert error(third.connect()) == (111, "Too many connections, try again later.")
    assert third.end == (3013, "Too many connections, try again later.")


def test_a_rate_limit_by_channel_counts_all_who_use_it(tmp_path: Path) -> None:
    conf = """
[endpoints."/"]
protocol = "centrifuge"
subscribe = ["rate_limit 1/min by=channel"]
message = ["rate_limit 1/min burst=2 by=channel"]
[channels."*"]
subscribe = "channel != ''"
publish = "channel != ''"
"""
    harness = build(conf, tmp_path)
    speakers = [connected(harness) for _ in range(2)]

    def codes(command: str, channel: str, **more: Any) -> list[int]:
        replies = [speaker.say({"id": 7, command: {"channel": channel, **more}})[-1] for speaker in speakers]
        return [error(reply)[0] if "error" in reply else 0 for reply in replies]

    assert [codes("subscribe", "a"), codes("subscribe", "b")] == [[0, 111], [0, 111]]
    assert [codes("publish", "a", data=1), codes("publish", "b", data=1)] == [[0, 0], [0, 0]]
    assert codes("publish", "a", data=1) == [111, 111]
    assert codes("rpc", "", method="m")[0] == 0


def test_close_ends_the_connection(tmp_path: Path) -> None:
    speaker = connected(harness_of(tmp_path, "close 4321 bye"))
    speaker.say({"id": 2, "rpc": {}})
    assert speaker.end == (4321, "bye")


SWITCH = """
[endpoints."/"]
protocol = "centrifuge"
message = ["by_method"]
[filters.by_method]
use = "switch"
key = "call.method"
default = ["reject 404 'There is no such method.'"]
[filters.by_method.case]
hello = ["set greeting=hello"]
"""


def test_a_switch_chooses_by_the_method(tmp_path: Path) -> None:
    speaker = connected(build(SWITCH, tmp_path))
    assert rpc(speaker, {"to": "ann"}, method="hello") == {"to": "ann", "greeting": "hello"}
    assert rpc(speaker, {"call": {"method": "hello"}}, method="bye") == (104, "There is no such method.")


def test_a_condition_on_the_data_of_connect_holds_when_the_token_is_renewed(tmp_path: Path) -> None:
    """Fault: it was asked again without the data, and the client was refused for good."""
    key = "a key of the tests, and of nobody else"
    conf = f"""[endpoints."/"]\nprotocol = "centrifuge"\nconnect = ["jwt HS256 '{key}'", "require call.data.v == 2"]"""
    harness = build(conf, tmp_path)
    token = pyjwt.encode({"sub": "ann", "exp": harness.wall.now + 100}, key, "HS256")
    speaker = Speaker(harness)
    assert "connect" in speaker.connect(token=token, data={"v": 2})
    (reply,) = speaker.say({"id": 8, "refresh": {"token": token}})
    assert "refresh" in reply
    assert speaker.end is None
