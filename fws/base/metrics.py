"""Counters: what happened, by name. Everything that is refused, dropped or failed is counted here under one name."""

from __future__ import annotations

from collections import Counter

# What goes well, and is no news.
TRAFFIC = frozenset(("publications", "redis_published", "redis_received"))


class Metrics:
    """The counters of one process. Names are plural nouns in snake case: `slow_consumers`, `filter_faults`."""

    __slots__ = ("_counts", "_told")

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._told: Counter[str] = Counter()

    def count(self, name: str, number: int = 1) -> None:
        """Add to a counter."""
        self._counts[name] += number

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def all(self) -> dict[str, int]:
        """Every counter that has counted, by name."""
        return dict(sorted(self._counts.items()))

    def news(self) -> str:
        """What was refused, dropped or failed since the last call, as `failed_logins 3, refused_403 1`, the most first.

        Empty for nothing.
        """
        since = self._counts - self._told
        self._told = self._counts.copy()
        return ", ".join(f"{name} {number}" for name, number in since.most_common() if name not in TRAFFIC)
