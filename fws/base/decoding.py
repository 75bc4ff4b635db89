"""Decodes JSON within limits, because clients wrote it, and nothing else is served while it is decoded."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

# Deeper than any reasonable message. Close to its limit of recursion (1,000 here), Python may decode a value and then
# fail to encode it a few calls further down. A client could cause that error at will.
MAX_DEPTH = 100

# The most lists and objects of a message. A megabyte of `[],[],…` would take 300 ms, and this many take under 30 ms.
MAX_CONTAINERS = 20_000

_decode = msgspec.json.Decoder().decode


# A lone surrogate: the escape of one half of a character outside the Basic Multilingual Plane. JavaScript's
# `JSON.stringify` writes it if a text was cut in the middle of an emoji. Escapes of whole characters are matched first,
# and those of other characters in runs: a match for each of half a million backslashes would take 100 ms.
_HALF = re.compile(
    r"((?:\\[^u][^\\]*+)++|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)


def decode(text: str | bytes, *, replace: bool = False, decoder: Callable[[str | bytes], Any] = _decode) -> Any:
    """The value of a JSON text.

    Args:
        decoder: decodes a text, to a value of some type. It raises ValueError.
        replace: whether U+FFFD replaces half of an emoji. UTF-8 cannot encode it, and RFC 8259 section 8.2 leaves open
            how to treat it.

    Raises:
        ValueError: its text is meant for the client that sent the message.
    """
    if brackets(text) > MAX_CONTAINERS:
        raise ValueError("this JSON is too large")
    try:
        value = decoder(text)
    except (ValueError, RecursionError):
        text, value = _decode_whole(text, decoder)
        if not replace:
            raise ValueError("this JSON has half of a character: an emoji was cut") from None
    # Each level needs a bracket. Counting them takes microseconds, and most messages have too few.
    if brackets(text) > MAX_DEPTH and _too_deep(value if decoder is _decode else _any(text)):
        raise ValueError("this JSON is nested too deep")
    return value


def _decode_whole(text: str | bytes, decoder: Callable[[str | bytes], Any]) -> tuple[str, Any]:
    """The text with U+FFFD for each half of a character, and its value. Raises ValueError if it has another error."""
    try:
        given = text.decode() if isinstance(text, bytes) else text
        whole, _ = _HALF.subn(lambda match: match[1] or "\\ufffd", given)
        if whole != given:
            return whole, decoder(whole)
    except (ValueError, RecursionError):
        pass
    raise ValueError("this is not JSON")


def _any(text: str | bytes) -> Any:
    """The value of a text that a decoder of some type has read. That does not look into fields that it ignores."""
    try:
        return _decode(text)
    except (ValueError, RecursionError):
        raise ValueError("this is not JSON") from None


def brackets(text: str | bytes) -> int:
    """An upper bound of the number of lists and objects in a text."""
    return text.count("[") + text.count("{") if isinstance(text, str) else text.count(b"[") + text.count(b"{")


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        inner = (item.values() if isinstance(item, dict) else item for item in level)
        level = [item for items in inner for item in items if isinstance(item, dict | list)]
    return bool(level)
