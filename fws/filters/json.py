"""`json`: text to value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from fws import Filter, Help, Size
from fws.constants import INVALID_DATA
from fws.filters._refusal import Refusing, refuse

if TYPE_CHECKING:
    from fws.client import Client

# Deeper than any honest message. What Python can still decode near its limit of recursion (1,000 here) it may fail
# to encode a few calls further down, which would be a fault of ours that a client can cause at will.
MAX_DEPTH = 100

# Lists and objects in one message. Nothing else is served while one is decoded: a megabyte of `[],[],…` would take
# 300 ms, this many take under 30.
MAX_CONTAINERS = 20_000

_decode = msgspec.json.Decoder().decode


class Json(Filter):
    """Turn JSON text into the value it stands for, so that the filters behind it see fields.

    On `message`, text or binary. What an earlier filter made a value of flows on unchanged, and so does the text
    `null`, as a hook that returns nothing changes nothing. Refused is what is no JSON, what is larger than `max_size`,
    holds more than 20,000 lists and objects (brackets in texts count), is nested more than 100 deep, or has numbers no
    float can hold: as `on_error` says it is dropped, or dropped and answered with `{"error": "…"}`, or the connection
    is closed with 1007, the code for data that is not what its kind promises (RFC 6455 7.4.1).

    Example:
        message = ["json on_error=reply", "broadcast"]
    """

    waits = False

    max_size: Annotated[Size, Help("Largest message that is decoded.")] = 256 * 1024
    on_error: Annotated[Refusing, Help("What becomes of a message that is no JSON.")] = "drop"

    def message(self, client: Client, message: Any) -> Any:
        if not isinstance(message, str | bytes):
            return None
        if len(message) > self.max_size or _brackets(message) > MAX_CONTAINERS:
            return refuse(client, self.on_error, INVALID_DATA, "this JSON is too large")
        try:
            value = _decode(message)
        except (ValueError, RecursionError):
            return refuse(client, self.on_error, INVALID_DATA, "this is no JSON")
        if _too_deep(value, message):
            return refuse(client, self.on_error, INVALID_DATA, "this JSON is nested too deep")
        return value


def _brackets(text: str | bytes) -> int:
    return text.count("[") + text.count("{") if isinstance(text, str) else text.count(b"[") + text.count(b"{")


def _too_deep(value: Any, text: str | bytes) -> bool:
    # Each level needs a bracket: counting them takes microseconds, and most messages have too few.
    if _brackets(text) <= MAX_DEPTH:
        return False
    level = [value]
    for _ in range(MAX_DEPTH):
        inner = (item.values() if isinstance(item, dict) else item for item in level)
        level = [item for items in inner for item in items if isinstance(item, dict | list)]
    return bool(level)
