"""Entries of a Redis Stream as publications. It is pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fws import FwsError
from fws.base.decoding import decode

_PLACE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.-]*)\}")
# The most bytes of an entry: as much as [redis] max_message permits by default.
MAX_ENTRY = 16 * 1024 * 1024


class EntryError(FwsError):
    """An entry that cannot be published. The message says why."""


def channel_of(pattern: str, entry: Mapping[bytes, bytes]) -> str:
    """The channel of an entry: a pattern such as `orders:{shop}`, in which fields of the entry are filled in.

    Raises:
        EntryError: a field is missing, empty, or not text.
    """

    def fill(match: re.Match[str]) -> str:
        value = entry.get(match[1].encode())
        if not value:
            raise EntryError(f"it has no field {match[1]!r}, which its channel needs")
        return _text(match[1], value)

    return _PLACE.sub(fill, pattern)


def message_of(entry: Mapping[bytes, bytes], field: str, *, as_json: bool) -> Any:
    """The message of an entry.

    Args:
        field: the field that has it; empty for an object of all fields.
        as_json: whether values that are JSON are decoded.

    Raises:
        EntryError: the field is missing or not text, or the entry is too large.
    """
    if sum(len(name) + len(value) for name, value in entry.items()) > MAX_ENTRY:
        raise EntryError(f"it has more than {MAX_ENTRY} bytes")
    if not field:
        return {_text("", name): _value(name, value, as_json) for name, value in entry.items()}
    value = entry.get(field.encode())
    if value is None:
        raise EntryError(f"it has no field {field!r}")
    message = _value(field.encode(), value, as_json)
    if message is None:
        raise EntryError(f"its field {field!r} is null")
    return message


def _value(name: bytes, value: bytes, as_json: bool) -> Any:
    text = _text(name.decode("utf-8", "replace"), value)
    if not as_json:
        return text
    try:
        return decode(text)
    except ValueError:
        return text


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise EntryError(f"its field {name!r} is not UTF-8" if name else "the name of a field is not UTF-8") from None
