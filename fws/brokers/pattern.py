"""Redis's glob patterns, as in `PSUBSCRIBE`."""

from __future__ import annotations

import re
from collections.abc import Callable

_TOKEN = re.compile(rb"\*|\?|\\(.)|\[(\^?)((?:\\.|[^\]])*)\]?|(.)", re.DOTALL)

_MEMBER = re.compile(rb"\\(.)|(.)(?:-(.))?", re.DOTALL)


def matcher(pattern: bytes) -> Callable[[bytes], bool]:
    """A function that says whether a name matches: `*` is any number of characters, `?` one, `[a-z]` one of these."""
    expression = b"".join(_translated(token) for token in _TOKEN.finditer(pattern))
    found = re.compile(expression + rb"\Z", re.DOTALL).match
    return lambda name: found(name) is not None


def _translated(token: re.Match[bytes]) -> bytes:
    text = token[0]
    if text == b"*":
        return b".*"
    if text == b"?":
        return b"."
    if text.startswith(b"["):
        # Escapes, ranges and single characters are written as numbers, so that nothing has a special meaning for `re`.
        members = b"".join(
            b"\\x%02x-\\x%02x" % tuple(sorted((low[0], (high or low)[0])))
            for escaped, single, high in _MEMBER.findall(token[3])
            for low in (escaped or single,)
        )
        if not members:
            return b"." if token[2] else b"(?!)"
        return b"[" + token[2] + members + b"]"
    return re.escape(token[1] or text)
