"""JSON text to values, within bounds: somebody else wrote it, and nothing else is served while it is decoded."""

from __future__ import annotations

from typing import Any

import msgspec

# Deeper than any honest message. What Python can still decode near its limit of recursion (1,000 here) it may fail
# to encode a few calls further down, which would be a fault of ours that a client can cause at will.
MAX_DEPTH = 100

# Lists and objects decoded in one go. A megabyte of `[],[],…` would take 300 ms, this many take under 30.
MAX_CONTAINERS = 20_000

_decode = msgspec.json.Decoder().decode


def decode(text: str | bytes) -> Any:
    """The value that a text stands for. Raises ValueError, with a few words for whom it came from."""
    if brackets(text) > MAX_CONTAINERS:
        raise ValueError("this JSON is too large")
    try:
        value = _decode(text)
    except (ValueError, RecursionError):
        raise ValueError("this is no JSON") from None
    if _too_deep(value, text):
        raise ValueError("this JSON is nested too deep")
    return value


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
