"""A histogram of durations, in buckets of which each is a fifth wider than the one below."""

from __future__ import annotations

from collections.abc import Mapping
from math import log2

# Buckets of each octave, which is a doubling of the time. The lowest bucket begins at one microsecond.
PER_OCTAVE = 4


class Histogram:
    """How often something took how long.

    Attributes:
        times: the number of durations by bucket. Bucket B begins at 2 ** (B / PER_OCTAVE) microseconds; the lowest also
            has everything below that.
        seconds: the sum of all durations.
    """

    __slots__ = ("seconds", "times")

    def __init__(self, times: Mapping[int, int] | None = None, seconds: float = 0.0) -> None:
        self.times: dict[int, int] = dict(times or {})
        self.seconds = seconds

    @property
    def count(self) -> int:
        """The number of durations."""
        return sum(self.times.values())

    def observe(self, seconds: float, weight: int = 1) -> None:
        """Count a duration, which stands for `weight` of them if not all are measured."""
        bucket = int(PER_OCTAVE * log2(max(seconds * 1e6, 1.0)))
        self.times[bucket] = self.times.get(bucket, 0) + weight
        self.seconds += seconds * weight

    def add(self, other: Histogram) -> None:
        """Count everything that another one has counted."""
        for bucket, number in other.times.items():
            self.times[bucket] = self.times.get(bucket, 0) + number
        self.seconds += other.seconds

    def since(self, earlier: Histogram) -> Histogram:
        """What was counted since an earlier copy of it."""
        times = {bucket: number - earlier.times.get(bucket, 0) for bucket, number in self.times.items()}
        return Histogram({bucket: number for bucket, number in times.items() if number}, self.seconds - earlier.seconds)


def percentile(times: Mapping[int, int], part: float) -> float:
    """The time in microseconds below which this part of the durations stayed; 0.0 without durations.

    Args:
        times: as `Histogram.times`.
    """
    total = sum(times.values())
    passed = 0
    for bucket in sorted(times):
        passed += times[bucket]
        if passed >= part * total:
            # The middle of the bucket.
            return float(2 ** ((bucket + 0.5) / PER_OCTAVE))
    return 0.0
