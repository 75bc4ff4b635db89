"""The option `by`: keys of clients, channels and fields of messages."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from fws.filters._key import Key
from fws.pipeline.call import MESSAGE, Call


def client(id: str = "c1", identity: Mapping[str, Any] | None = None, call: Call = MESSAGE) -> Any:
    return SimpleNamespace(id=id, address="2001:db8::1", identity=identity, call=call)


def test_each_name_stands_for_what_it_says() -> None:
    ann = client(identity={"user": "ann"})
    assert Key.parse("client").of(ann, "x") == "c1"
    assert Key.parse("address").of(ann, "x") == "2001:db8::"
    assert Key.parse("user").of(ann, "x") == "=ann"
    assert Key.parse("user").of(client(), "x") is None
    assert Key.parse("channel").of(ann, "x", "lobby") == "=lobby"
    assert Key.parse("channel").of(client(call=Call("publish", "tea")), "x") == "=tea"
    assert Key.parse("channel").of(ann, "x") is None
    assert Key.parse("all").of(None, "x") is not None
    assert Key.parse("message.room").of(ann, {"room": "tea"}) == "=tea"
    assert Key.parse("message.room").of(ann, {"room": ""}) is None
    assert Key.parse("message.room").of(ann, "no object") is None


@pytest.mark.parametrize("long", ["long " * 50, ["long"] * 50, b"long"])
def test_no_text_stands_for_a_longer_value(long: Any) -> None:
    key = Key.parse("message.q")
    made = key.of(None, {"q": long})
    assert made is not None
    for text in (made, made.rpartition("#")[2], made.rpartition("=")[2]):
        assert key.of(None, {"q": text}) != made


def test_several_names_make_one_key() -> None:
    key = Key.parse("client, message.room")
    assert key.of(client("c1"), {"room": "tea"}) != key.of(client("c2"), {"room": "tea"})
    assert key.of(client("c1"), {"room": "tea"}) != key.of(client("c1"), {"room": "bar"})
    assert key.of(client("c1"), {"room": "tea"}) == key.of(client("c1"), {"room": "tea"})
    assert key.of(client("c1"), {}) is None
    assert Key.parse("user,message.room").of(client(), {"room": "tea"}) is None
    assert key.per_client
    assert not Key.parse("user").per_client


def test_whether_a_key_says_anything_about_the_client() -> None:
    about = [text for text in ("client", "user", "message.q,address", "identity.org") if Key.parse(text).of_client]
    assert len(about) == 4
    assert not any(Key.parse(text).of_client for text in ("message", "message.q", "channel", "all"))


@pytest.mark.parametrize("value", ["1", 1, 1.0, True, b"1", [1], {"a": 1}, "x" * 1000, "y" * 1000, b"x" * 1000])
def test_different_values_have_different_short_keys(value: Any) -> None:
    """Fault: in Python 1 == 1.0 == True, so that values would share a key."""
    values = ["1", 1, 1.0, True, b"1", [1], {"a": 1}, "x" * 1000, "y" * 1000, b"x" * 1000]
    key = Key.parse("message")
    same = [one for one in values if key.of(None, one) == key.of(None, value)]
    assert len(same) == 1
    assert len(repr(key.of(None, value))) < 250


def test_no_value_is_like_an_address_or_like_two_values() -> None:
    eve = client(identity={"user": "2001:db8::"})
    address = Key.parse("address").of(eve, "x")
    assert Key.parse("user").of(eve, "x") != address
    assert Key.parse("channel").of(eve, "x", "2001:db8::") != address
    assert Key.parse("message").of(eve, "2001:db8::") != address
    key = Key.parse("message.a,message.b")
    assert key.of(None, {"a": "x', '=y", "b": "z"}) != key.of(None, {"a": "x", "b": "y', '=z"})


def test_what_has_no_key_raises_nothing() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    assert Key.parse("message").of(None, object()) is None
    assert Key.parse("message").of(None, nested) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("clint", r"did you mean .client.\? Or name a value, such as message.clint"),
        ("client,", "expected"),
        ("", "expected client"),
        ("message.a == 1", "not the name of a value"),
        ("'x'", "not the name of a value"),
    ],
)
def test_another_word_is_a_problem(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Key.parse(text)


@pytest.mark.parametrize(
    ("text", "event", "problem"),
    [
        ("client", "tick", "there is no client on tick: use by=all, or a value such as message.room"),
        ("user", "publication", "there is no user on publication: use by=channel or all"),
        ("client,message.room", "connect", "there is no 'message' on connect"),
        ("channel", "tick", "there is no channel on tick"),
        ("channel", "connect", "there is no channel on connect: use by=client or address or user or all$"),
        ("client", "message", ""),
        ("address", "data", ""),
        ("channel", "subscribe", ""),
        ("channel", "message", ""),
        ("user,message.id,channel", "deliver", ""),
        ("all", "tick", ""),
    ],
)
def test_an_event_must_have_what_the_key_names(text: str, event: str, problem: str) -> None:
    key = Key.parse(text)
    if problem:
        with pytest.raises(ValueError, match=problem):
            key.check_event(event)
    else:
        key.check_event(event)
