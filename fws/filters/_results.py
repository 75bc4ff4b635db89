"""Results that `cache` remembers, bounded in number, bytes and time. It knows no clock."""

from __future__ import annotations

import marshal
from collections import OrderedDict
from typing import Any

import msgspec

from fws.pipeline.outcomes import Several

# What an entry takes besides its result: the key, the numbers and the places in tables.
OVERHEAD = 500


def frozen(result: Any) -> bytes | None:
    """The result of a pipeline as bytes; None if it has other than plain values in it.

    The bytes are only read by this process. They keep the types that JSON does not have, and no filter that changes a
    message in place changes what others get.
    """
    try:
        if isinstance(result, Several):
            return marshal.dumps((True, result.items))
        return marshal.dumps((False, result))
    except ValueError:
        return None


def thawed(data: bytes) -> Any:
    """A new copy of what was frozen."""
    several, result = marshal.loads(data)
    return Several(result) if several else result


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A result, and until when it is remembered."""

    data: bytes
    until: float


class Results:
    """Results by key. Beyond a number of results or bytes, the one that was not asked for the longest is forgotten.

    Args:
        most: the most results.
        memory: the most bytes that they take together.
    """

    __slots__ = ("_entries", "_memory", "_most", "_size")

    def __init__(self, most: int, memory: int) -> None:
        self._most = most
        self._memory = memory
        self._size = 0
        self._entries: OrderedDict[str, Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def adopt(self, other: Results) -> None:
        """Remember what other results, which are not used any more, have remembered."""
        for key, entry in other._entries.items():
            self._put(key, entry)

    def get(self, key: str, now: float) -> bytes | None:
        """What is remembered for a key; None if nothing is."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.until <= now:
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        return entry.data

    def left(self, key: str, now: float) -> float:
        """Seconds for which a key is remembered; 0.0 if it is not."""
        entry = self._entries.get(key)
        return max(entry.until - now, 0.0) if entry is not None else 0.0

    def put(self, key: str, data: bytes, until: float) -> None:
        """Remember a result, unless it is larger than everything that may be remembered."""
        self._put(key, Entry(data, until))

    def _put(self, key: str, entry: Entry) -> None:
        self._remove(key)
        if len(entry.data) + OVERHEAD > self._memory:
            return
        self._entries[key] = entry
        self._size += len(entry.data) + OVERHEAD
        while len(self._entries) > self._most or self._size > self._memory:
            self._remove(next(iter(self._entries)))

    def _remove(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size -= len(entry.data) + OVERHEAD
