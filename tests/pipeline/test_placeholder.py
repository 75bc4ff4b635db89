"""Placeholders and their values."""

from __future__ import annotations

from typing import Any

import pytest

from fws.base.errors import FillError, MessageFillError
from fws.pipeline.placeholder import MAX_VALUE, Flow, Template, parse_value
from fws.pipeline.stage import StageError


class Somebody:
    """The part of a client that placeholders read."""

    id, address, path, subprotocol = "c1", "10.0.0.1", "/chat/tea", ""
    params = {"room": "tea"}
    identity = {"user": "ann"}
    state = {"nick": "Ann", "level": 3}

    def time(self) -> str:
        return "2026-01-01T00:00:00.000Z"


SOMEBODY: Any = Somebody()


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{room}", "tea"),
        ("chat:{room}:{client.id}", "chat:tea:c1"),
        ("{id}{address}{path}", "c110.0.0.1/chat/tea"),
        ("{identity.user} {state.nick} {state.level} {params.room}", "ann Ann 3 tea"),
        ("{time}", "2026-01-01T00:00:00.000Z"),
        ('{"a":{room}}', '{"a":tea}'),
    ],
)
def test_placeholders_are_filled_per_client(text: str, filled: str) -> None:
    value = parse_value(text, {}, ["room"])
    assert isinstance(value, Template)
    assert value.fill(Flow(SOMEBODY)) == filled


@pytest.mark.parametrize("text", ['{"error":"busy"}', "{}", "{ room }", "{Room}", "{room", "room}", "{a.b.c}"])
def test_other_braces_are_literal(text: str) -> None:
    assert parse_value(text, {}, ["room"]) == text


@pytest.mark.parametrize("text", ["{rom}", "{client.outbox}", "{client.__class__}", "{params.other}", "{state}"])
def test_a_placeholder_that_nothing_fills(text: str) -> None:
    with pytest.raises(StageError):
        parse_value(text, {}, ["room"])


def test_a_verbatim_value_has_variables_and_no_placeholders() -> None:
    environ = {"KEY": "{id}"}
    text = "{text: .t, room} {room} {client.id} {client.outbox} ${KEY} ${OTHER:-{id}"
    filled = "{text: .t, room} {room} {client.id} {client.outbox} {id} {id"
    assert parse_value(text, environ, ["room"], verbatim=True) == filled
    with pytest.raises(StageError, match="OTHER is not set") as error:
        parse_value("{text} ${OTHER}", environ, [], 5, verbatim=True)
    assert error.value.offset == 12


def test_a_placeholder_without_a_value_for_this_client() -> None:
    value = parse_value("{identity.email}", {}, [])
    assert isinstance(value, Template)
    with pytest.raises(FillError, match="email"):
        value.fill(Flow(SOMEBODY))


def test_the_value_of_a_variable_is_never_a_placeholder_or_variable() -> None:
    environ = {"A": "{room} ${B} x", "B": "b"}
    assert parse_value("<${A}>", environ, ["room"]) == "<{room} ${B} x>"


def test_a_variable_that_is_not_set() -> None:
    with pytest.raises(StageError, match="NAME is not set") as error:
        parse_value("ab${NAME}", {}, [], at=10)
    assert error.value.offset == 12


@pytest.mark.parametrize(
    ("text", "message", "filled"),
    [
        ("room:{message.room}", {"room": "tea"}, "room:tea"),
        ("{message.id}", {"id": 7}, "7"),
        ("{message.author.Name}", {"author": {"Name": "Ann"}}, "Ann"),
        ("{room}/{message.room}", {"room": "x"}, "tea/x"),
    ],
)
def test_a_field_of_the_message_fills_in(text: str, message: object, filled: str) -> None:
    """Fault: `broadcast room:{message.room}` was refused, because nothing filled the placeholder."""
    value = parse_value(text, {}, ["room"])
    assert isinstance(value, Template)
    assert value.fill(Flow(SOMEBODY, message)) == filled


@pytest.mark.parametrize(
    "message",
    [None, "text", b"", [], {}, {"id": None}, {"id": True}, {"id": 1.5}, {"id": ""}, {"id": []}, {"id": {"a": 1}},
     {"id": "x" * (MAX_VALUE + 1)}, {"id": "\u00fc" * MAX_VALUE}, {"id": 10**200}],
)  # fmt: skip
def test_values_of_a_message_that_cannot_be_filled_in(message: object) -> None:
    value = parse_value("{message.id}", {}, [])
    assert isinstance(value, Template)
    with pytest.raises(MessageFillError, match="not a text or an integer of 1 to 200 bytes"):
        value.fill(Flow(SOMEBODY, message))


def test_the_channel_of_a_publication_fills_in() -> None:
    value = parse_value("{channel}: {message.text}", {}, [])
    assert isinstance(value, Template)
    assert value.fill(Flow(None, {"text": "hi"}, "lobby")) == "lobby: hi"
