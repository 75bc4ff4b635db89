"""The interface of a storage: sets, maps, counters and plain values, by key, each with an optional expiry.

In Redis these are Redis's own types, so that other applications can read and write the same data. What is read may come
from another application and is therefore checked: it is text, not too large, and of the expected kind.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from fws.pipeline.commands import Command

# The most bytes of one key, and of one member, field or value. A key may contain text from a client.
MAX_KEY = 512
MAX_VALUE = 1024 * 1024
# The most members or fields in one answer, and its most bytes as the storage counts them.
MAX_ITEMS = 10_000
MAX_ANSWER = 4 * 1024 * 1024
# The most seconds until a key expires. Three centuries, which Redis can still count in milliseconds.
MAX_EXPIRE = 1e10
# The most entries of a list or stream that a command makes longer, unless a limit is given.
MAX_ENTRIES = 10_000
# The most tokens of a bucket. Times in microseconds stay exact below it.
MAX_BURST = 1_000_000_000


class Taken(NamedTuple):
    """What a bucket has given.

    Attributes:
        tokens: how many were taken; fewer than were asked for if the bucket had no more.
        wait: seconds until the bucket has its next token; 0.0 if it has one.
    """

    tokens: int
    wait: float


class Storage(Protocol):
    """Small state that all filters share, and with Redis all nodes and other applications too.

    Keys, members, fields and values are text. Each method is atomic. It may block, up to 4 s if Redis hangs.

    Args:
        expire: seconds from this call until the whole key expires; None leaves its expiry unchanged.

    Raises:
        StorageError: the storage cannot be reached, is full, or has another kind of value at the key. It is then
            unknown whether a change was made.
        ValueError: a key is empty or longer than 512 bytes, a value is larger than 1 MiB, a text is not valid UTF-8, or
            a time is not a number above 0.
    """

    waits: bool

    # Sets.

    def add(self, key: str, *members: str, expire: float | None = None) -> int:
        """Add members to a set. Returns how many were not in it before."""

    def remove(self, key: str, *members: str) -> int:
        """Remove members from a set. Returns how many were in it. Of concurrent calls for one member, one gets 1."""

    def members(self, key: str) -> set[str]:
        """All members of a set; empty if it does not exist."""

    def contains(self, key: str, member: str) -> bool:
        """Whether a set has this member."""

    def contained(self, key: str, *members: str) -> set[str]:
        """Those of the members that are in the set, which may be large. More than 1,000 are read in several steps."""

    def size(self, key: str) -> int:
        """The number of members of a set."""

    # Maps.

    def get_field(self, key: str, field: str) -> str | None:
        """The value of a field of a map; None if it does not exist."""

    def get_fields(self, key: str, *fields: str) -> dict[str, str]:
        """Those of the fields that are in the map, with their values. More than 1,000 are read in several steps."""

    def set_field(self, key: str, field: str, value: str, expire: float | None = None) -> None:
        """Set a field of a map."""

    def delete_field(self, key: str, *fields: str) -> int:
        """Remove fields from a map. Returns how many existed."""

    def fields(self, key: str) -> dict[str, str]:
        """All fields of a map with their values; empty if it does not exist."""

    # Counters.

    def increment(self, key: str, by: int = 1, expire: float | None = None) -> int:
        """Add to a counter, which begins at 0. Returns its new value.

        Unlike in other methods, `expire` counts from the creation of the counter, which so counts within a period.
        """

    # Plain values.

    def get(self, key: str) -> str | None:
        """A plain value, or the value of a counter as text; None if the key does not exist."""

    def set(self, key: str, value: str, expire: float | None = None) -> None:
        """Set a plain value. Without `expire` it never expires."""

    def compare_and_set(self, key: str, expected: str | None, value: str | None, expire: float | None = None) -> bool:
        """Set a plain value if the present one equals `expected`. Returns whether it did.

        Args:
            expected: None if the key must not exist, as any kind of value.
            value: None to delete the key.
        """

    # Buckets.

    def take(self, key: str, count: int, rate: float, burst: int) -> Taken:
        """Take up to `count` tokens of a bucket that holds `burst` tokens and gains `rate` tokens per second.

        A bucket begins full, and its key expires when it is full again. In any span of time all callers together get
        at most `burst` tokens and what the bucket gains in that span. The storage's own clock counts, so that the
        clocks of nodes need not agree. Calls for one key should give the same rate and burst.

        Raises:
            ValueError: count, rate or burst is not above 0, or the bucket would take longer than `MAX_EXPIRE` to fill.
        """

    # For other applications.

    def command(
        self,
        command: Command,
        key: str,
        arguments: Sequence[str | bytes],
        limit: int | None = None,
        expire: float | None = None,
    ) -> int | float | str | None:
        """Give Redis a command. Returns its result; None without one. In the memory of a process nothing happens.

        Args:
            key: as other applications name it; the prefix of [redis] does not go before it.
            arguments: what the command takes after the key, as `command.check` demands it.
            limit: the most entries of a list or stream; None for `MAX_ENTRIES`.
        """

    # Any kind.

    def delete(self, key: str) -> bool:
        """Delete a key of any kind. Returns whether it existed."""


def check(key: str, *values: str | bytes, expire: float | None = None) -> None:
    """Raise ValueError for a key, values or a time that no storage accepts. A lone surrogate is not valid UTF-8."""
    if not 0 < len(key) <= MAX_KEY or len(key.encode()) > MAX_KEY:
        raise ValueError(f"a key must have 1 to {MAX_KEY} bytes")
    for value in values:
        if len(value) > MAX_VALUE or (isinstance(value, str) and len(value.encode()) > MAX_VALUE):
            raise ValueError(f"a value can have at most {MAX_VALUE} bytes")
    # This also refuses NaN.
    if expire is not None and not 0 < expire <= MAX_EXPIRE:
        raise ValueError(f"the expiry of a key must be above 0 and at most {MAX_EXPIRE:g} seconds")


def check_bucket(count: int, rate: float, burst: int) -> None:
    """Raise ValueError for a bucket that no storage accepts."""
    if not (count > 0 and 0 < burst <= MAX_BURST and 0 < rate < math.inf and burst / rate <= MAX_EXPIRE):
        raise ValueError(
            f"a bucket has a rate above 0, and 1 to {MAX_BURST} tokens that take at most {MAX_EXPIRE:g} seconds to gain"
        )
