"""What a storage promises: sets, maps, counters and plain values, by key, each with an optional expiry.

In Redis they are Redis's own types, so that other applications read and write the same data. Whatever comes out may
therefore be another application's, and is checked: it is text, not too large, and of the kind that was asked for.
"""

from __future__ import annotations

from typing import Protocol

# Bytes of one key, and of one member, field or value. A key may be made of what a client says.
MAX_KEY = 512
MAX_VALUE = 1024 * 1024
# Members or fields in one answer, and its bytes as the storage counts them.
MAX_ITEMS = 10_000
MAX_ANSWER = 4 * 1024 * 1024
# Seconds until a key is forgotten: three centuries, and what Redis can count in milliseconds.
MAX_EXPIRE = 1e10


class Storage(Protocol):
    """Small state shared by all filters, with Redis by all nodes and other applications.

    Keys, members, fields and values are text. Each method is one step that no other comes in between, whoever does it.
    A method may wait, up to 4 s with a Redis that is stuck, and raises `StorageError` when the storage cannot be
    asked, is full, or holds something else at the key than the method is for; whether a change was made is then not
    known. ValueError: a key that is empty or longer than 512 bytes, a value over 1 MiB, a text that
    UTF-8 cannot carry, a time that is not above 0 or no number.

    Args:
        expire: seconds until the whole key is forgotten, from this call on; None leaves its expiry as it is.
    """

    waits: bool

    # Sets.

    def add(self, key: str, *members: str, expire: float | None = None) -> int:
        """Put members into a set; how many were not in it before."""

    def remove(self, key: str, *members: str) -> int:
        """Take members out of a set; how many were in it. Of several who take the same one, one gets 1."""

    def members(self, key: str) -> set[str]:
        """All of them; empty when there is no such set."""

    def contains(self, key: str, member: str) -> bool:
        """Whether it is in the set."""

    def contained(self, key: str, *members: str) -> set[str]:
        """Those of the members that are in the set, however large it is. Over 1,000 are asked for in several steps."""

    def size(self, key: str) -> int:
        """How many members the set has."""

    # Maps.

    def get_field(self, key: str, field: str) -> str | None:
        """The value of a map's field; None when there is none."""

    def get_fields(self, key: str, *fields: str) -> dict[str, str]:
        """Those of the fields that are in the map, with their values, however large it is; in steps as above."""

    def set_field(self, key: str, field: str, value: str, expire: float | None = None) -> None:
        """Set a map's field."""

    def delete_field(self, key: str, *fields: str) -> int:
        """Take fields out of a map; how many there were."""

    def fields(self, key: str) -> dict[str, str]:
        """All of a map; empty when there is no such map."""

    # Counters.

    def increment(self, key: str, by: int = 1, expire: float | None = None) -> int:
        """Add to a counter, which begins at 0; what it is now.

        Unlike elsewhere `expire` counts from when the counter begins, so that it counts what happens within a time.
        """

    # Plain values.

    def get(self, key: str) -> str | None:
        """A plain value, or a counter's as text; None when there is none."""

    def set(self, key: str, value: str, expire: float | None = None) -> None:
        """Set a plain value. Without `expire` it stays."""

    def compare_and_set(self, key: str, expected: str | None, value: str | None, expire: float | None = None) -> bool:
        """Set a plain value if it is what is expected; whether it was. None stands for no value on either side.

        Where none is expected, whatever is at the key is one, of any kind.
        """

    def delete(self, key: str) -> bool:
        """Forget a key, whatever it holds; whether there was one."""


def check(key: str, *values: str, expire: float | None = None) -> None:
    """Raise ValueError for a key, values or a time that no storage takes. A lone surrogate is none of UTF-8."""
    if not 0 < len(key) <= MAX_KEY or len(key.encode()) > MAX_KEY:
        raise ValueError(f"a key has 1 to {MAX_KEY} bytes")
    for value in values:
        if len(value) > MAX_VALUE or len(value.encode()) > MAX_VALUE:
            raise ValueError(f"a value has at most {MAX_VALUE} bytes")
    # Not a number is not in between either.
    if expire is not None and not 0 < expire <= MAX_EXPIRE:
        raise ValueError(f"a key is forgotten after more than 0 and at most {MAX_EXPIRE:g} seconds")
