"""Secrets in messages are masked before a person or a file sees them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

MASK = "***"
# Fields whose names say that their value is a secret, also as a part of a longer name.
_SECRET = re.compile(
    r"passw|passphrase|secret|token|authori[sz]ation|api_?key|credential|cookie|private_?key|\bpin\b", re.I
)
# A JSON Web Token (RFC 7519) anywhere in a text.
_JWT = re.compile(r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
# The most that a value is searched for; longer texts are cut first.
MAX_DEPTH = 20


class Redaction:
    """Masks the values of secret fields, JSON Web Tokens, and the fields that the user names.

    Args:
        fields: further names of fields whose values are masked; `*` masks every text and number.
    """

    def __init__(self, fields: Iterable[str] = ()) -> None:
        names = set(fields)
        self._all = "*" in names
        self._fields = {name.lower() for name in names}

    def masked(self, value: Any) -> Any:
        """The value without its secrets. A text that is JSON is looked into, and written anew if it has some."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(len(value)) if self._all else bytes(value)
        return self._value(value, 0)

    def target(self, target: str) -> str:
        """A path and query without the secrets in the query."""
        path, mark, query = target.partition("?")
        fields = [field.partition("=") for field in query.split("&")] if mark else []
        shown = "&".join(f"{name}={MASK if self._is_secret(name) else self._text(text)}" if sign else name
                         for name, sign, text in fields)  # fmt: skip
        return f"{path}{mark}{shown}"

    def _text(self, text: str) -> str:
        if text[:1] in ("{", "["):
            try:
                value = msgspec.json.decode(text)
            except (ValueError, RecursionError):
                pass
            else:
                masked = self._value(value, 0)
                return text if masked == value else msgspec.json.encode(masked).decode()
        return MASK if self._all else _JWT.sub(MASK, text)

    def _value(self, value: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            return MASK
        if isinstance(value, dict):
            return {
                key: MASK if isinstance(key, str) and self._is_secret(key) else self._value(item, depth + 1)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._value(item, depth + 1) for item in value]
        if isinstance(value, str):
            return self._text(value)
        return MASK if self._all and isinstance(value, int | float) and not isinstance(value, bool) else value

    def _is_secret(self, name: str) -> bool:
        return name.lower() in self._fields or _SECRET.search(name) is not None
