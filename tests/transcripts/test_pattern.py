"""Patterns: JSON by value, and `…` for any remainder."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fws.transcripts.pattern import Pattern

JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text().filter(lambda t: "…" not in t),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("hello", "hello"),
        ("…", "anything"),
        ("...", b"\x00"),
        ("hello …", "hello you"),
        ("… again …", "once again and so on"),
        ('{"a":1,"b":[2]}', '{ "b": [2], "a": 1.0 }'),
        ('{"a":1, …}', '{"a":1,"b":2}'),
        ('{"a":1, ...}', '{"a":1}'),
        ("{…}", '{"a":1}'),
        ('{"a":…}', '{"a":{"b":[]}}'),
        ('{"a":"x…"}', '{"a":"xyz"}'),
        ('{"a":[1, …]}', '{"a":[1,2,3]}'),
        ("[…, 2]", "[1, 2]"),
        ('{"a":"{…"}', '{"a":"{}"}'),
        ("bytes 00 ff", b"\x00\xff"),
        ("bytes", b""),
        ("5", "5.0"),
    ],
)
def test_what_matches(pattern: str, message: str | bytes) -> None:
    assert Pattern(pattern).difference(message) == ""


@pytest.mark.parametrize(
    ("pattern", "message", "difference"),
    [
        ("hello", "hallo", "the text differs"),
        ('{"a":1}', '{"a":true}', "a: true instead of 1"),
        ('{"a":0}', '{"a":false}', "a: false instead of 0"),
        ('{"a":1}', '{"a":1,"b":2}', 'there is also "b"'),
        ('{"a":1, …}', '{"b":2}', 'there is no "a"'),
        ('{"a":[{"b":1}]}', '{"a":[{"b":2}]}', "a[0].b: 2 instead of 1"),
        ("[1, …]", "[]", "0 items instead of 1"),
        ("[1, 2]", "[1]", "1 items instead of 2"),
        ('{"a":"x…"}', '{"a":"yx"}', 'a: "yx" instead of "x…"'),
        ('{"a":1}', "hello", "it is not JSON"),
        ("hello", b"hello", "it is binary"),
        ("bytes 00", b"\x01", "the bytes differ"),
        ("bytes 00", "text", "the bytes differ"),
    ],
)
def test_what_differs(pattern: str, message: str | bytes, difference: str) -> None:
    assert Pattern(pattern).difference(message) == difference


def test_bytes_need_hexadecimal_digits() -> None:
    with pytest.raises(ValueError, match=r"hexadecimal digits.*write \\bytes"):
        Pattern("bytes hello")


@given(JSON)
def test_a_value_matches_itself_however_it_is_written(value: Any) -> None:
    assert Pattern(json.dumps(value)).difference(json.dumps(value, indent=1, sort_keys=True)) == ""


@given(st.text(), st.text() | st.binary())
def test_no_text_makes_a_pattern_fail(pattern: str, message: str | bytes) -> None:
    try:
        made = Pattern(pattern)
    except ValueError:
        assert pattern.startswith("bytes")
        return
    assert isinstance(made.difference(message), str)


@given(st.text(alphabet='{}[]",:.… 1a\\'))
def test_broken_json_is_taken_as_text(pattern: str) -> None:
    assert isinstance(Pattern(pattern).difference(pattern), str)
