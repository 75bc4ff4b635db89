"""The counters of one process: everything that is refused, dropped or failed is counted under one name."""

from __future__ import annotations

from collections import Counter

from fws.base.counters import TRAFFIC


class Metrics:
    """Counts by name. `fws.base.counters` lists the names that fws uses; a filter may count under names of its own."""

    __slots__ = ("_counts", "_reported")

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._reported: Counter[str] = Counter()

    def count(self, name: str, number: int = 1, *, label: object = "") -> None:
        """Add to a counter. With a label, such as the status 403, the counter is `NAME_403`."""
        self._counts[f"{name}_{label}" if label else name] += number

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def all(self) -> dict[str, int]:
        """Every counter that is not zero, by name."""
        return dict(sorted(self._counts.items()))

    def news(self) -> str:
        """What was counted since the last call, without normal traffic, the highest number first.

        Returns:
            Text such as `failed_logins 3, refused_403 1`; empty if nothing was counted.
        """
        since = self._counts - self._reported
        self._reported = self._counts.copy()
        return ", ".join(f"{name} {number}" for name, number in since.most_common() if name not in TRAFFIC)
