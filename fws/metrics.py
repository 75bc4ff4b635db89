"""Counters: what happened, by name. Everything that is refused, dropped or failed is counted here under one name."""

from __future__ import annotations

from collections import Counter


class Metrics:
    """The counters of one process. Names are plural nouns in snake case: `slow_consumers`, `filter_faults`."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def count(self, name: str, number: int = 1) -> None:
        """Add to a counter."""
        self._counts[name] += number

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def all(self) -> dict[str, int]:
        """Every counter that has counted, by name."""
        return dict(sorted(self._counts.items()))
