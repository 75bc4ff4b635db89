"""Values on one line, for people who watch a pipeline."""

from __future__ import annotations

from typing import Any

import msgspec

# The most characters of a value that are shown.
MAX_SHOWN = 60


def brief(value: Any, most: int = MAX_SHOWN) -> str:
    """A value on one line, as JSON where that is possible, and shortened."""
    if isinstance(value, bytes | bytearray | memoryview):
        text = f"bytes {bytes(value[:most]).hex()}"
    else:
        try:
            text = value if isinstance(value, str) and value[:1] in ("{", "[") else _json(value)
        except (TypeError, ValueError, RecursionError):
            text = _repr(value)
    text = text[: most + 1]
    if not text.isprintable():
        text = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return text if len(text) <= most else text[: most - 1] + "…"


def message_of(error: BaseException) -> str:
    """The text of an exception, or that it has none. Its class may be the user's, with methods that fail themselves."""
    try:
        return str(error)
    except Exception:
        return "(its text cannot be read)"


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception:
        return f"({type(value).__name__})"


def _json(value: Any) -> str:
    # A very long text is cut before it is encoded.
    if isinstance(value, str) and len(value) > 4 * MAX_SHOWN:
        value = value[: 4 * MAX_SHOWN]
    return msgspec.json.encode(value).decode()
