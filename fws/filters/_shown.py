"""Messages and values as text for people."""

from __future__ import annotations

from typing import Any

from fws.wire.encoding import json_bytes


def shown(value: Any, limit: int | None = None) -> str:
    """At most `limit` characters of a message: text as it is, bytes as a Python literal, other values as JSON."""
    if isinstance(value, str):
        return value[:limit]
    if isinstance(value, bytes):
        return str(value[:limit])[2:-1][:limit]
    try:
        return json_bytes(value)[:limit].decode("utf-8", "ignore")
    except TypeError:
        return f"<{type(value).__name__}>"
