"""Entries of a Redis Stream, which any application may have written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fws.sources._entries import EntryError, channel_of, message_of

ENTRY = {b"shop": b"7", b"message": b'{"total":5}', b"note": "é".encode(), b"none": b"null", b"bad": b"\xff", b"": b""}


def test_fields_are_filled_into_the_channel() -> None:
    assert channel_of("orders", ENTRY) == "orders"
    assert channel_of("shop:{shop}:{note}", ENTRY) == "shop:7:é"
    assert channel_of("{unclosed", ENTRY) == "{unclosed"


@pytest.mark.parametrize("pattern", ["{city}", "{bad}"])
def test_a_channel_needs_its_fields(pattern: str) -> None:
    with pytest.raises(EntryError, match=r"no field 'city'|'bad' is not UTF-8"):
        channel_of(pattern, ENTRY)


@pytest.mark.parametrize(
    ("field", "as_json", "message"),
    [
        ("message", True, {"total": 5}),
        ("message", False, '{"total":5}'),
        ("note", True, "é"),
        ("shop", True, 7),
        ("none", False, "null"),
    ],
)
def test_the_message_is_a_field(field: str, as_json: bool, message: Any) -> None:
    assert message_of(ENTRY, field, as_json=as_json) == message


def test_the_message_can_be_all_fields() -> None:
    assert message_of({b"a": b"1", b"b": b"x"}, "", as_json=True) == {"a": 1, "b": "x"}
    assert message_of({b"a": b"1", b"b": b"x"}, "", as_json=False) == {"a": "1", "b": "x"}


@pytest.mark.parametrize("field", ["bad", "none", "city"])
def test_some_entries_have_no_message(field: str) -> None:
    with pytest.raises(EntryError):
        message_of(ENTRY, field, as_json=True)


def test_an_entry_has_a_limit() -> None:
    with pytest.raises(EntryError, match="more than"):
        message_of({b"message": bytes(17 * 1024 * 1024)}, "message", as_json=False)


@given(st.dictionaries(st.binary(max_size=10), st.binary(max_size=50)), st.sampled_from(["", "a", "message"]))
def test_no_entry_does_more_than_raise_entry_error(entry: dict[bytes, bytes], field: str) -> None:
    for as_json in (True, False):
        try:
            message_of(entry, field, as_json=as_json)
            channel_of("x:{a}", entry)
        except EntryError:
            pass
