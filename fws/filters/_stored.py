"""How messages and what is stored come together."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from fws import Duration
from fws.pipeline.storage import MAX_EXPIRE
from fws.wire.encoding import json_bytes

# How long something is kept.
Lasting = Annotated[Duration, Meta(gt=0, le=MAX_EXPIRE)]


def text_of(value: Any) -> str:
    """A value as it is stored: text as it is, all else as JSON. Raises TypeError for what JSON cannot carry."""
    return value if isinstance(value, str) else json_bytes(value).decode()


def named(message: Any, field: str) -> Any:
    """The message's field of that name, the message itself for an empty name, None for what is not there."""
    if not field:
        return message.decode("utf-8", "replace") if isinstance(message, bytes) else message
    return message.get(field) if isinstance(message, dict) else None
