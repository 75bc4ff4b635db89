"""Reading commands, which come from anybody: no line raises anything but ValueError, or takes long."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fws.base.decoding import MAX_CONTAINERS, MAX_DEPTH
from fws.pipeline.publication import Position
from fws.protocols.centrifuge import commands
from fws.protocols.centrifuge.subscriptions import position_of

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=10,
)
FIELDS = st.sampled_from(
    [
        "channel",
        "token",
        "recover",
        "epoch",
        "offset",
        "data",
        "type",
        "delta",
        "tf",
        "subs",
        "limit",
        "since",
        "method",
    ]
)
REQUESTS = st.sampled_from([*commands._REQUESTS, "unknown"])
COMMANDS = st.dictionaries(REQUESTS, st.dictionaries(FIELDS, VALUES, max_size=4) | VALUES, max_size=2)
# What msgspec decodes as a float has no exact form; these come back as they are.
EXACT = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(st.characters(codec="utf-8"), max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=6), inner, max_size=4)
    ),
    max_leaves=10,
)


@settings(deadline=None)
@given(COMMANDS | VALUES, st.integers() | VALUES)
def test_any_json_is_a_command_or_a_value_error(value: Any, id: Any) -> None:
    text = json.dumps({"id": id, **value} if isinstance(value, dict) else value)
    try:
        command = commands.parse(text)
    except ValueError as error:
        assert str(error)
        return
    assert 0 <= command.id < 2**32
    assert command.name in {"", *commands._REQUESTS}


@settings(deadline=None)
@given(st.text() | st.text('{}[]":,0123456789eE.+-\\u nulltrefs', max_size=60))
def test_any_text_is_a_command_or_a_value_error(text: str) -> None:
    try:
        commands.parse(text)
    except ValueError as error:
        assert "\n" not in str(error)


@settings(deadline=None)
@given(EXACT)
def test_data_arrives_as_it_was_sent(data: Any) -> None:
    command = commands.parse(json.dumps({"id": 1, "rpc": {"method": "m", "data": data}}))
    assert command.rpc == commands.Rpc("m", data)


def test_the_log_does_not_get_what_a_command_carries() -> None:
    text = '{"id":1,"subscribe":{"channel":"tea","token":"secret","data":"secret"}}'
    assert commands.parse(text).what == "subscribe tea"
    assert commands.parse('{"id":1,"rpc":{"method":"m","data":"secret"}}').what == "rpc m"
    assert commands.parse('{"id":1,"connect":{"token":"secret"}}').what == "connect"
    assert commands.parse("{}").what == ""


NESTED = ("[" * MAX_DEPTH, "[" * 1000, "[" * 100_000, '{"a":' * 1000)
HOSTILE = {
    "lists": '{"id":1,"rpc":{"data":[' + "[]," * (MAX_CONTAINERS - 10) + "0]}}",
    "objects": '{"id":1,"rpc":{"data":[' + "{}," * (MAX_CONTAINERS - 10) + "0]}}",
    "too many lists": '{"id":1,"rpc":{"data":[' + "[]," * 300_000 + "0]}}",
    "numbers": '{"id":1,"rpc":{"data":[' + "1," * 500_000 + "0]}}",
    "texts": '{"id":1,"rpc":{"data":[' + '"",' * 300_000 + "0]}}",
    "numbers and lists": '{"id":1,"rpc":{"data":[' + "1," * 400_000 + "[]," * 200 + "0]}}",
    "ignored": '{"id":1,"x":[' + "1," * 400_000 + "[]," * 200 + "0]}",
    "keys": '{"id":1,"rpc":{"data":{' + ",".join(f'"{number}":1' for number in range(80_000)) + "}}}",
    "positions": '{"id":1,"connect":{"subs":{' + ",".join(f'"{n}":{{}}' for n in range(MAX_CONTAINERS - 10)) + "}}}",
    "emojis": '{"id":1,"rpc":{"data":"' + "\\ud83d" * 150_000 + '"}}',
    "escapes": '{"id":1,"rpc":{"data":"' + "\\\\" * 500_000 + '\\ud83d"}}',
    "a long token": '{"id":1,"connect":{"token":"' + "x" * 1_000_000 + '"}}',
    "a large number": '{"id":' + "9" * 1_000_000 + "}",
    "a large exponent": '{"id":1,"rpc":{"data":1e' + "9" * 1_000_000 + "}}",
    **{f"{len(one)} levels": '{"id":1,"rpc":{"data":' + one for one in NESTED},
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_large_line_takes_little_time(kind: str) -> None:
    """The event loop serves nobody else meanwhile. The bound leaves room for a loaded machine and a large heap."""
    spent = []
    for _ in range(3):
        began = time.thread_time()
        try:
            commands.parse(HOSTILE[kind])
        except ValueError:
            pass
        spent.append(time.thread_time() - began)
    assert min(spent) < 0.3


@settings(deadline=None)
@given(st.text(max_size=32), st.integers(0, 10**13 - 1))
def test_a_position_cannot_be_made_of_two(epoch: str, offset: int) -> None:
    found = Position.parse(position_of(commands.Subscribe(epoch=epoch, offset=offset)))
    assert found is None or (found.epoch, found.offset) == (epoch or "_", offset)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=5), st.integers(), max_size=3))
def test_fields_that_are_not_known_are_ignored(more: dict[str, int]) -> None:
    known = commands.Command.__struct_fields__
    text = msgspec.json.encode({**{k: v for k, v in more.items() if k not in known}, "id": 5, "ping": more}).decode()
    assert commands.parse(text) == commands.Command(5, ping=commands.Ping())
