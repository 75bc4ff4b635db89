"""The storage in memory. Its content is lost when the process ends."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from typing import Any, TypeVar

from fws.base.buckets import TokenBucket
from fws.base.errors import StorageError
from fws.pipeline.commands import Command
from fws.pipeline.storage import MAX_ANSWER, MAX_ITEMS, Taken, check, check_bucket

# The most bytes in total. Beyond that, nothing new is accepted.
MAX_BYTES = 64 * 1024 * 1024
# The memory of a key in addition to its text, with the object that holds its content, and that of a member or a field.
KEY = 512
ITEM = 128
# The expired keys that each change removes. These are more keys than a change adds, so that they do not accumulate.
FEW = 16

# What Redis accepts as a number.
_NUMBER = re.compile(r"(0|-?[1-9][0-9]*)\Z", re.ASCII)

T = TypeVar("T", set[str], dict[str, str], str)


class _Entry:
    __slots__ = ("content", "size", "until")

    def __init__(self, content: Any) -> None:
        self.content = content
        self.size = 0
        self.until: float | None = None


class MemoryStorage:
    """Keeps everything in this process, up to 64 MiB.

    A change that needs more raises `StorageError` and changes nothing. Keys that have not expired are never removed to
    make room.

    Args:
        clock: monotonic seconds.
        most: the most bytes in total.
    """

    waits = False

    def __init__(self, clock: Callable[[], float], most: int = MAX_BYTES) -> None:
        self._clock = clock
        self._most = most
        self._now = clock()
        self._entries: dict[str, _Entry] = {}
        self._size = 0
        # When keys expire, the next one first. A key that was deleted or has a new expiry keeps its old entry here.
        self._due: list[tuple[float, str]] = []

    def add(self, key: str, *members: str, expire: float | None = None) -> int:
        self._begin(key, *members, expire=expire)
        new = set(members) - self._find(key, set, set())
        if new:
            self._grow(key, set, sum(ITEM + _size(member) for member in new)).content.update(new)
        self._expire(key, expire)
        return len(new)

    def remove(self, key: str, *members: str) -> int:
        self._begin(key, *members)
        found = set(members) & self._find(key, set, set())
        for member in found:
            self._entries[key].content.discard(member)
            self._shrink(key, ITEM + _size(member))
        return len(found)

    def members(self, key: str) -> set[str]:
        self._begin(key)
        return set(self._answer(key, self._find(key, set, set())))

    def contains(self, key: str, member: str) -> bool:
        self._begin(key, member)
        return member in self._find(key, set, set())

    def contained(self, key: str, *members: str) -> set[str]:
        self._begin(key, *members)
        return set(members) & self._find(key, set, set())

    def size(self, key: str) -> int:
        self._begin(key)
        return len(self._find(key, set, set()))

    def get_field(self, key: str, field: str) -> str | None:
        self._begin(key, field)
        return self._find(key, dict, {}).get(field)

    def get_fields(self, key: str, *fields: str) -> dict[str, str]:
        self._begin(key, *fields)
        held = self._find(key, dict, {})
        return {field: held[field] for field in fields if field in held}

    def set_field(self, key: str, field: str, value: str, expire: float | None = None) -> None:
        self._begin(key, field, value, expire=expire)
        before = self._find(key, dict, {}).get(field)
        more = _size(value) - _size(before) if before is not None else ITEM + _size(field) + _size(value)
        self._grow(key, dict, more).content[field] = value
        self._expire(key, expire)

    def delete_field(self, key: str, *fields: str) -> int:
        self._begin(key, *fields)
        held = self._find(key, dict, {})
        found = [field for field in set(fields) if field in held]
        for field in found:
            self._shrink(key, ITEM + _size(field) + _size(held.pop(field)))
        return len(found)

    def fields(self, key: str) -> dict[str, str]:
        self._begin(key)
        return dict(self._answer(key, self._find(key, dict, {})))

    def increment(self, key: str, by: int = 1, expire: float | None = None) -> int:
        self._begin(key, expire=expire)
        before = self.get(key)
        if before is not None and (len(before) > 20 or not _NUMBER.match(before)):
            raise StorageError(f"{key!r} holds no number")
        number = int(before or 0) + by
        if not -(2**63) <= number < 2**63:
            raise StorageError(f"the counter {key!r} would be larger than 64 bits hold")
        self._grow(key, str, _size(str(number)) - _size(before or "")).content = str(number)
        if before is None:
            self._expire(key, expire)
        return number

    def get(self, key: str) -> str | None:
        self._begin(key)
        held = self._find(key, str, "")
        return held if key in self._entries else None

    def set(self, key: str, value: str, expire: float | None = None) -> None:
        self._begin(key, value, expire=expire)
        held = self._entries.get(key)
        self._make_room(KEY + _size(key) + _size(value) - (0 if held is None else held.size))
        self._forget(key)
        self._grow(key, str, _size(value)).content = value
        self._expire(key, expire)

    def compare_and_set(self, key: str, expected: str | None, value: str | None, expire: float | None = None) -> bool:
        self._begin(key, expected or "", value or "", expire=expire)
        if expected is None:
            if self._alive(key):
                return False
        elif self.get(key) != expected:
            return False
        if value is None:
            self._forget(key)
        else:
            self.set(key, value, expire)
        return True

    def take(self, key: str, count: int, rate: float, burst: int) -> Taken:
        check_bucket(count, rate, burst)
        held, bucket = self.get(key), TokenBucket(rate, burst)
        full_at = self._now
        try:
            if held is not None and (before := float(held)) > full_at:
                full_at = min(before, full_at + burst / rate)
        except ValueError:
            raise StorageError(f"{key!r} holds no bucket") from None
        tokens = min(count, bucket.left(full_at, self._now))
        if tokens > 0:
            full_at = bucket.take(full_at, self._now, tokens)
            self.set(key, repr(full_at), full_at - self._now)
        return Taken(tokens, bucket.wait(full_at, self._now))

    def command(
        self,
        command: Command,
        key: str,
        arguments: Sequence[str | bytes],
        limit: int | None = None,
        expire: float | None = None,
    ) -> None:
        check(key, *arguments, expire=expire)

    def delete(self, key: str) -> bool:
        self._begin(key)
        alive = self._alive(key)
        self._forget(key)
        return alive

    def _begin(self, key: str, *values: str, expire: float | None = None) -> None:
        """Check the arguments, and look at the clock once, so that no key expires while a method runs."""
        check(key, *values, expire=expire)
        self._now = self._clock()

    def _alive(self, key: str) -> bool:
        entry = self._entries.get(key)
        return entry is not None and (entry.until is None or self._now < entry.until)

    def _find(self, key: str, kind: type[T], nothing: T) -> T:
        """The content of the key, which must be of this kind; `nothing` if the key does not exist."""
        if not self._alive(key):
            self._forget(key)
            return nothing
        content = self._entries[key].content
        if type(content) is not kind:
            raise StorageError(f"{key!r} holds another kind of value")
        return content

    def _answer(self, key: str, content: T) -> T:
        """A whole set or map, if it is not too large."""
        if len(content) > MAX_ITEMS:
            raise StorageError(f"{key!r} has more than {MAX_ITEMS} items")
        if content and self._entries[key].size > MAX_ANSWER:
            raise StorageError(f"{key!r} is larger than {MAX_ANSWER} bytes")
        return content

    def _grow(self, key: str, kind: type[Any], more: int) -> _Entry:
        """The entry of the key, created if it does not exist, with room for this many more bytes."""
        new = key not in self._entries
        more += KEY + _size(key) if new else 0
        self._make_room(more)
        if new:
            self._entries[key] = _Entry(kind())
        entry = self._entries[key]
        entry.size += more
        self._size += more
        return entry

    def _shrink(self, key: str, less: int) -> None:
        """The content of the key has become smaller. If nothing is left, the key is deleted, as in Redis."""
        entry = self._entries[key]
        entry.size -= less
        self._size -= less
        if not entry.content:
            self._forget(key)

    def _forget(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size -= entry.size

    def _expire(self, key: str, expire: float | None) -> None:
        if expire is None or key not in self._entries:
            return
        until = self._entries[key].until = self._now + expire
        heappush(self._due, (until, key))
        if len(self._due) > 2 * len(self._entries) + FEW:
            self._due = [(entry.until, key) for key, entry in self._entries.items() if entry.until is not None]
            heapify(self._due)

    def _make_room(self, more: int) -> None:
        """Remove expired keys: a few of them, and as many as are needed for this many more bytes."""
        left = FEW
        while self._due and self._due[0][0] <= self._now and (left > 0 or self._size + more > self._most):
            _, key = heappop(self._due)
            left -= 1
            if not self._alive(key):
                self._forget(key)
        if more > 0 and self._size + more > self._most:
            raise StorageError(f"the storage of this process holds {self._most} bytes and is full")


def _size(text: str) -> int:
    """The most bytes of a text. Python uses up to four for each character."""
    return len(text) if text.isascii() else 4 * len(text)
