"""The part of Redis's protocol (RESP2) that pub/sub needs: an encoder for commands and an incremental parser for
replies.

A relay must limit what it accepts, which other parsers cannot do: a string above the limit is skipped while it arrives
and not kept in memory, and no greenlet waits for the rest of an incomplete reply.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha1
from typing import Any

# The most bytes of a line, which has a number or a short sentence, and the most items. Replies to pub/sub have four
# items, and those about a Cluster some thousands.
MAX_LINE = 64 * 1024
MAX_ITEMS = 100_000
MAX_DEPTH = 8

_MESSAGE = re.compile(rb"\*3\r\n\$[78]\r\n(s?message)\r\n\$([0-9]{1,5})\r\n").match
_SIZE = re.compile(rb"\r\n\$([0-9]{1,10})\r\n").match


class RespError(ValueError):
    """The bytes are not a valid reply."""


class Failure(str):
    """An error that Redis replied, such as `NOAUTH Authentication required.`."""

    __slots__ = ()

    @property
    def code(self) -> str:
        """Its first word."""
        return self.partition(" ")[0]


class _Incomplete(Exception):
    pass


def command(*words: bytes) -> bytes:
    """One command as bytes."""
    return b"*%d\r\n%b" % (len(words), joined(words))


def joined(words: Iterable[bytes]) -> bytes:
    """Words as they are in a command, after its head `*COUNT`."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


def commands(word: bytes, names: Iterable[bytes], at_once: int = 500) -> bytes:
    """One command for many names, split into several so that none of them blocks Redis for long."""
    names = list(names)
    pieces = [names[start : start + at_once] for start in range(0, len(names), at_once)]
    return b"".join([command(word, *piece) for piece in pieces])


class Replies:
    """Reads replies from bytes: strings as `bytes`, numbers as `int`, arrays as lists, errors as `Failure`.

    Args:
        longest: the most bytes of a string. A longer one becomes None.
    """

    __slots__ = ("_buffer", "_longest", "_skip")

    def __init__(self, longest: int) -> None:
        self._buffer = bytearray()
        self._longest = longest
        self._skip = 0

    def feed(self, data: bytes) -> list[Any]:
        """The replies that these bytes complete. After RespError nothing more can be read."""
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        buffer = self._buffer
        buffer += data
        replies = []
        position = 0
        try:
            while position < len(buffer):
                if (head := _MESSAGE(buffer, position)) is not None:
                    # The common case, read in a third of the time.
                    start = head.end() + int(head[2])
                    if (size := _SIZE(buffer, start)) is not None and (length := int(size[1])) <= self._longest:
                        body = size.end()
                        position = body + length + 2
                        if position > len(buffer):
                            position = head.start()
                            break
                        replies.append(
                            [bytes(head[1]), bytes(buffer[head.end() : start]), bytes(buffer[body : body + length])]
                        )
                        continue
                reply, position = self._read(position, 0)
                replies.append(reply)
        except _Incomplete:
            pass
        del buffer[:position]
        return replies

    def _read(self, position: int, depth: int) -> tuple[Any, int]:
        buffer = self._buffer
        end = buffer.find(b"\r\n", position)
        if end < 0:
            if len(buffer) - position > MAX_LINE:
                raise RespError("a line without an end")
            raise _Incomplete
        kind = buffer[position]
        after = end + 2
        if kind == 0x24:  # $
            length = _number(buffer, position, end)
            if length < 0:
                return None, after
            if length > self._longest:
                return None, self._leave_out(position, after, length)
            stop = after + length
            if len(buffer) < stop + 2:
                raise _Incomplete
            return bytes(buffer[after:stop]), stop + 2
        if kind == 0x2A:  # *
            count = _number(buffer, position, end)
            if count > MAX_ITEMS or depth > MAX_DEPTH:
                raise RespError("a reply that is too large")
            items = []
            for _ in range(count):
                item, after = self._read(after, depth + 1)
                items.append(item)
            return items, after
        if kind == 0x3A:  # :
            return _number(buffer, position, end), after
        text = buffer[position + 1 : end]
        if kind == 0x2B:  # +
            return bytes(text), after
        if kind == 0x2D:  # -
            return Failure(text.decode("utf-8", "replace")), after
        raise RespError("this is not Redis")

    def _leave_out(self, position: int, start: int, length: int) -> int:
        """Replace a string by a null, and skip the part that has not arrived. Returns where reading continues."""
        null = b"$-1\r\n"
        stop = start + length + 2
        self._skip = max(0, stop - len(self._buffer))
        self._buffer[position:stop] = null
        return position + len(null)


def _number(buffer: bytearray, position: int, end: int) -> int:
    try:
        return int(buffer[position + 1 : end])
    except ValueError:
        raise RespError("an invalid number") from None


def sha(script: bytes) -> bytes:
    """What `EVALSHA` calls the script."""
    return sha1(script, usedforsecurity=False).hexdigest().encode()
