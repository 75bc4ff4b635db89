"""The storage of one process. What it holds ends with the process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fws.errors import StorageError
from fws.storages.base import MAX_ITEMS, check

# Bytes in all; beyond that nothing new is taken. What a member, a field or a key takes beside its text.
MAX_BYTES = 64 * 1024 * 1024
OVERHEAD = 128

T = TypeVar("T", set[str], dict[str, str], str)


class _Entry:
    __slots__ = ("content", "size", "until")

    def __init__(self, content: Any) -> None:
        self.content = content
        self.size = OVERHEAD
        self.until: float | None = None


class MemoryStorage:
    """Keeps everything in this process, at most 64 MiB: beyond that `StorageError`, and nothing is forgotten for it.

    Args:
        clock: monotonic seconds.
    """

    waits = False

    def __init__(self, clock: Callable[[], float], most: int = MAX_BYTES) -> None:
        self._clock = clock
        self._most = most
        self._entries: dict[str, _Entry] = {}
        self._size = 0

    def add(self, key: str, *members: str, expire: float | None = None) -> int:
        check(key, *members)
        new = set(members) - self._find(key, set, set())
        if new:
            entry = self._grow(key, set, sum(OVERHEAD + len(member) for member in new))
            entry.content |= new
        self._expire(key, expire)
        return len(new)

    def remove(self, key: str, *members: str) -> int:
        check(key, *members)
        found = set(members) & self._find(key, set, set())
        for member in found:
            self._entries[key].content.discard(member)
            self._shrink(key, OVERHEAD + len(member))
        return len(found)

    def members(self, key: str) -> set[str]:
        check(key)
        return set(_not_too_many(self._find(key, set, set())))

    def contains(self, key: str, member: str) -> bool:
        check(key, member)
        return member in self._find(key, set, set())

    def contained(self, key: str, *members: str) -> set[str]:
        check(key, *members)
        return set(members) & self._find(key, set, set())

    def size(self, key: str) -> int:
        check(key)
        return len(self._find(key, set, set()))

    def get_field(self, key: str, field: str) -> str | None:
        check(key, field)
        return self._find(key, dict, {}).get(field)

    def get_fields(self, key: str, *fields: str) -> dict[str, str]:
        check(key, *fields)
        held = self._find(key, dict, {})
        return {field: held[field] for field in fields if field in held}

    def set_field(self, key: str, field: str, value: str, expire: float | None = None) -> None:
        check(key, field, value)
        before = self._find(key, dict, {}).get(field)
        more = len(value) - len(before) if before is not None else OVERHEAD + len(field) + len(value)
        self._grow(key, dict, more).content[field] = value
        self._expire(key, expire)

    def delete_field(self, key: str, *fields: str) -> int:
        check(key, *fields)
        held = self._find(key, dict, {})
        found = [field for field in set(fields) if field in held]
        for field in found:
            self._shrink(key, OVERHEAD + len(field) + len(held.pop(field)))
        return len(found)

    def fields(self, key: str) -> dict[str, str]:
        check(key)
        return dict(_not_too_many(self._find(key, dict, {})))

    def increment(self, key: str, by: int = 1, expire: float | None = None) -> int:
        check(key)
        before = self._find(key, str, "")
        try:
            number = int(before or 0) + by
        except ValueError:
            raise StorageError(f"{key!r} holds no number") from None
        if not -(2**63) <= number < 2**63:
            raise StorageError(f"the counter {key!r} would be larger than 64 bits hold")
        entry = self._grow(key, str, len(str(number)) - len(before))
        entry.content = str(number)
        if not before:
            self._expire(key, expire)
        return number

    def get(self, key: str) -> str | None:
        check(key)
        return self._find(key, str, "") if self._alive(key) else None

    def set(self, key: str, value: str, expire: float | None = None) -> None:
        check(key, value)
        self.delete(key)
        self._grow(key, str, len(value)).content = value
        self._expire(key, expire)

    def compare_and_set(self, key: str, expected: str | None, value: str | None, expire: float | None = None) -> bool:
        check(key, expected or "", value or "")
        if self.get(key) != expected:
            return False
        if value is None:
            self.delete(key)
        else:
            self.set(key, value, expire)
        return True

    def delete(self, key: str) -> bool:
        check(key)
        alive = self._alive(key)
        if key in self._entries:
            self._size -= self._entries.pop(key).size
        return alive

    def _alive(self, key: str) -> bool:
        entry = self._entries.get(key)
        return entry is not None and (entry.until is None or self._clock() < entry.until)

    def _find(self, key: str, kind: type[T], nothing: T) -> T:
        """What is at the key, of this kind; `nothing` when there is nothing."""
        if not self._alive(key):
            if key in self._entries:
                self._size -= self._entries.pop(key).size
            return nothing
        content = self._entries[key].content
        if type(content) is not kind:
            raise StorageError(f"{key!r} holds another kind of value")
        return content

    def _grow(self, key: str, kind: type[Any], more: int) -> _Entry:
        """The key's entry, made when it is not there, with room for so many bytes more."""
        new = key not in self._entries
        more += (OVERHEAD + len(key)) if new else 0
        if more > 0 and self._size + more > self._most:
            self._forget_expired()
            if self._size + more > self._most:
                raise StorageError(f"the storage of this process holds {self._most} bytes and is full")
        entry = self._entries.setdefault(key, _Entry(kind()))
        if new:
            entry.size = 0
        entry.size += more
        self._size += more
        return entry

    def _shrink(self, key: str, less: int) -> None:
        """The key holds less; with nothing left in it, it is gone, as in Redis."""
        entry = self._entries[key]
        entry.size -= less
        self._size -= less
        if not entry.content:
            self._size -= self._entries.pop(key).size

    def _expire(self, key: str, expire: float | None) -> None:
        if expire is not None and key in self._entries:
            self._entries[key].until = self._clock() + expire

    def _forget_expired(self) -> None:
        for key in [key for key in self._entries if not self._alive(key)]:
            self._size -= self._entries.pop(key).size


def _not_too_many(content: T) -> T:
    if len(content) > MAX_ITEMS:
        raise StorageError(f"more than {MAX_ITEMS} items are no answer")
    return content
