"""JSON text to values, within bounds: somebody else wrote it, and nothing else is served while it is decoded."""

from __future__ import annotations

import re
from typing import Any

import msgspec

# Deeper than any honest message. What Python can still decode near its limit of recursion (1,000 here) it may fail
# to encode a few calls further down, which would be a fault of ours that a client can cause at will.
MAX_DEPTH = 100

# Lists and objects decoded in one go. A megabyte of `[],[],…` would take 300 ms, this many take under 30.
MAX_CONTAINERS = 20_000

_decode = msgspec.json.Decoder().decode


# Half of a character outside the Basic Multilingual Plane, written as an escape without the other half. JavaScript's
# `JSON.stringify` writes one when a text was cut in the middle of an emoji. The escape of a whole one is matched first.
_HALF = re.compile(r"(\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


def decode(text: str | bytes, *, replace: bool = False) -> Any:
    """The value that a text stands for.

    Args:
        replace: whether half of an emoji becomes U+FFFD. RFC 8259 section 8.2 leaves open what becomes of it, and
            UTF-8 cannot carry it.

    Raises:
        ValueError: with a few words for the client that sent it.
    """
    if brackets(text) > MAX_CONTAINERS:
        raise ValueError("this JSON is too large")
    try:
        value = _decode(text)
    except (ValueError, RecursionError):
        value = _decode_whole(text)
        if not replace:
            raise ValueError("this JSON has half of a character: an emoji was cut") from None
    if _too_deep(value, text):
        raise ValueError("this JSON is nested too deep")
    return value


def _decode_whole(text: str | bytes) -> Any:
    """The value, with U+FFFD for each half of a character. Raises ValueError where that is not what is wrong."""
    try:
        given = text.decode() if isinstance(text, bytes) else text
        whole, _ = _HALF.subn(lambda match: match[1] or "\\ufffd", given)
        if whole != given:
            return _decode(whole)
    except (ValueError, RecursionError):
        pass
    raise ValueError("this is not JSON")


def brackets(text: str | bytes) -> int:
    """No fewer than the lists and objects in it."""
    return text.count("[") + text.count("{") if isinstance(text, str) else text.count(b"[") + text.count(b"{")


def _too_deep(value: Any, text: str | bytes) -> bool:
    # Each level needs a bracket: counting them takes microseconds, and most messages have too few.
    if brackets(text) <= MAX_DEPTH:
        return False
    level = [value]
    for _ in range(MAX_DEPTH):
        inner = (item.values() if isinstance(item, dict) else item for item in level)
        level = [item for items in inner for item in items if isinstance(item, dict | list)]
    return bool(level)
