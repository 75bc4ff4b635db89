"""What a transcript expects of a message: JSON is compared by value, and `…` stands for any remainder.

    {"type":"chat","text":"hi"}      this object, in any order and spacing
    {"type":"chat", …}               an object with this field, and any others
    {"type":"joined","nick":"guest-…","time":…}   a text that begins with "guest-", and any value
    [1, …]                           a list that begins with 1
    hello …                          a text that begins with "hello "
    bytes 00ff                       a binary message
    …                                any message

Outside quotes three dots mean the same as `…`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

REST = "…"
_DOTS = "..."
# Stands for a bare `…` in decoded JSON. No text of a message can be a NUL character and this word.
_ANY = "\0any"
_BINARY = re.compile(r"bytes(?:\s+([0-9A-Fa-f\s]*))?\Z")


class Pattern:
    """What is expected of one message.

    Args:
        text: as it is written in the transcript.

    Raises:
        ValueError: the text begins with `bytes`, and what follows is not hexadecimal.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._binary = binary_of(text)
        self._json = text != REST and text != _DOTS
        self._value: Any = None
        if self._binary is None and self._json:
            try:
                self._value = json.loads("".join(_with_marks(text)))
            except (ValueError, RecursionError):
                self._json = False

    def __str__(self) -> str:
        return self.text

    def difference(self, message: str | bytes) -> str:
        """Where a message differs from the pattern, in words; empty if it matches."""
        if self.text in (REST, _DOTS):
            return ""
        if self._binary is not None or isinstance(message, bytes):
            return "" if message == self._binary else "the bytes differ" if self._binary is not None else "it is binary"
        if self._json:
            try:
                return _difference(self._value, json.loads(message), "")
            except (ValueError, RecursionError):
                return "it is not JSON"
        return "" if _matches(self.text, message) else "the text differs"


def binary_of(text: str) -> bytes | None:
    """The bytes that `bytes 00ff` stands for; None for a text. Raises ValueError for what is not hexadecimal."""
    if text.split(" ", 1)[0] != "bytes":
        return None
    match = _BINARY.match(text)
    try:
        if match is None:
            raise ValueError
        return bytes.fromhex(match[1] or "")
    except ValueError:
        raise ValueError(
            "after `bytes` come hexadecimal digits, such as bytes 00ff; write \\bytes for the text"
        ) from None


def _with_marks(text: str) -> Iterator[str]:
    """JSON in which each `…` outside a string is replaced by a value, or by a field where a field is expected."""
    containers: list[str] = []
    before = ""
    position = 0
    while position < len(text):
        char = text[position]
        if char == '"':
            end = position + 1
            while end < len(text) and text[end] != '"':
                end += 2 if text[end] == "\\" else 1
            yield text[position : end + 1]
            before, position = '"', end + 1
            continue
        mark = REST if char == REST else _DOTS if text.startswith(_DOTS, position) else ""
        if mark:
            in_object = bool(containers) and containers[-1] == "{" and before in ("{", ",")
            yield json.dumps(_ANY) + (": 0" if in_object else "")
            before, position = REST, position + len(mark)
            continue
        if char in "{[":
            containers.append(char)
        elif char in "}]" and containers:
            containers.pop()
        if not char.isspace():
            before = char
        yield char
        position += 1


def _difference(wanted: Any, found: Any, where: str) -> str:
    place = f"{where.lstrip('.')}: " if where else ""
    if wanted == _ANY:
        return ""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key, value in wanted.items():
            if key == _ANY:
                continue
            if key not in found:
                return f"{place}there is no {json.dumps(key, ensure_ascii=False)}"
            if differs := _difference(value, found[key], f"{where}.{key}"):
                return differs
        further = [key for key in found if key not in wanted]
        if further and _ANY not in wanted:
            return f"{place}there is also {json.dumps(further[0], ensure_ascii=False)}"
        return ""
    if isinstance(wanted, list) and isinstance(found, list):
        open_ended = bool(wanted) and wanted[-1] == _ANY
        items = wanted[:-1] if open_ended else wanted
        if len(found) < len(items) or (len(found) > len(items) and not open_ended):
            return f"{place}{len(found)} items instead of {len(items)}"
        differences = (_difference(item, found[index], f"{where}[{index}]") for index, item in enumerate(items))
        return next(filter(None, differences), "")
    if isinstance(wanted, str) and isinstance(found, str):
        same = _matches(wanted, found)
    else:
        # In Python `True == 1`.
        same = isinstance(wanted, bool) is isinstance(found, bool) and wanted == found
    return "" if same else f"{place}{_shown(found)} instead of {_shown(wanted)}"


def _matches(wanted: str, found: str) -> bool:
    if REST not in wanted:
        return wanted == found
    return re.fullmatch(".*".join(map(re.escape, wanted.split(REST))), found, re.DOTALL) is not None


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + REST
