"""Converts between messages and stored values."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from fws import Duration
from fws.pipeline.storage import MAX_EXPIRE
from fws.wire.encoding import json_bytes

# The option for how long a value is kept.
Lasting = Annotated[Duration, Meta(gt=0, le=MAX_EXPIRE)]


def text_of(value: Any) -> str:
    """A value in the form in which it is stored: text as it is, anything else as JSON. Raises TypeError for other
    values.
    """
    return value if isinstance(value, str) else json_bytes(value).decode()


def named(message: Any, field: str) -> Any:
    """The message's field of this name; the message itself for an empty name; None if there is no such field."""
    if not field:
        return message.decode("utf-8", "replace") if isinstance(message, bytes) else message
    return message.get(field) if isinstance(message, dict) else None
