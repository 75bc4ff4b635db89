"""The counters of one process: everything that is refused, dropped or failed is counted under one name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from fws.base.counters import COUNTERS, TRAFFIC

# The most counters under names that fws does not know, and the most labels of one counter. What is beyond that counts
# as `other`, because a filter may make names and labels of what its clients send.
MOST_NAMES = 200
MOST_LABELS = 200
OTHER = "other"
# The most characters of a name or label.
LONGEST = 100


class Counted(NamedTuple):
    """One counter, with its label and the second label, which few counters have."""

    name: str
    label: str
    reason: str
    number: int


class Metrics:
    """Counts by name. `fws.base.counters` lists the names that fws uses; a filter may count under names of its own."""

    __slots__ = ("_asked", "_counts", "_reported", "_sizes")

    def __init__(self) -> None:
        # A number is in a list, so that one look-up is enough to add to it.
        self._counts: dict[tuple[str, str, str], list[int]] = {}
        # The same lists, by what was asked for.
        self._asked: dict[tuple[str, object, str], list[int]] = {}
        # The number of counters by name, and of those with unknown names as "".
        self._sizes: Counter[str] = Counter()
        self._reported: Counter[str] = Counter()

    def count(self, name: str, number: int = 1, *, label: object = "", reason: str = "") -> None:
        """Add to a counter. With a label, such as the status 403, the log shows the counter as `NAME_403`.

        Args:
            reason: a second label, which `/metrics` shows and the log does not.
        """
        asked = name, label, reason
        counter = self._asked.get(asked)
        if counter is None:
            counter = self._counter_of(asked)
        counter[0] += number

    def _counter_of(self, asked: tuple[str, object, str]) -> list[int]:
        """The counter for what was not asked for before. There are only so many."""
        name, label, reason = asked[0], str(asked[1] or "")[:LONGEST], asked[2][:LONGEST]
        known = COUNTERS.get(name)
        if known is None or bool(known.label) != bool(label):
            key = f"{name}_{label}"[:LONGEST] if label else str(name)[:LONGEST], "", ""
            kind, most, other = "", MOST_NAMES, (OTHER, "", "")
        else:
            key = name, label, reason
            kind, most, other = name, MOST_LABELS, (name, OTHER if label else "", OTHER if reason else "")
        if key not in self._counts:
            if self._sizes[kind] >= most:
                # What was asked for is not remembered, because there may be any number of it.
                return self._counts.setdefault(other, [0])
            self._sizes[kind] += 1
            self._counts[key] = [0]
        if len(self._asked) < 2 * (MOST_NAMES + MOST_LABELS):
            self._asked[asked] = self._counts[key]
        return self._counts[key]

    def __getitem__(self, name: str) -> int:
        return self.all().get(name, 0)

    def __iter__(self) -> Iterator[Counted]:
        """Every counter that is not zero, with its labels apart."""
        return (Counted(*key, number) for key, [number] in self._counts.items() if number)

    def all(self) -> dict[str, int]:
        """Every counter that is not zero, by its name in the log."""
        return dict(sorted(self._shown().items()))

    def _shown(self) -> Counter[str]:
        shown: Counter[str] = Counter()
        for name, label, _, number in self:
            shown[f"{name}_{label}" if label else name] += number
        return shown

    def news(self) -> str:
        """What was counted since the last call, without normal traffic, the highest number first.

        Returns:
            Text such as `failed_logins 3, refused_403 1`; empty if nothing was counted.
        """
        shown = self._shown()
        since = shown - self._reported
        self._reported = shown
        hidden = {name for name in since if any(name == one or name.startswith(f"{one}_") for one in TRAFFIC)}
        return ", ".join(f"{name} {number}" for name, number in since.most_common() if name not in hidden)
