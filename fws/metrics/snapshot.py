"""A snapshot: all series of a process, or of several as one, at one moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from fws.base.histogram import Histogram
from fws.base.metrics import OTHER
from fws.metrics.catalogue import METRICS, Metric

Labels = tuple[str, ...]
# The most bytes of a file with a snapshot.
LARGEST = 16 * 1024 * 1024
_MERGES = {"max": max, "min": min}


class _Spread(msgspec.Struct, array_like=True):
    """A histogram in a file."""

    times: dict[int, int]
    seconds: float


class _File(msgspec.Struct, array_like=True):
    """A snapshot in a file: numbers and histograms, each by metric."""

    numbers: dict[str, list[tuple[Labels, float]]]
    histograms: dict[str, list[tuple[Labels, _Spread]]]


def _go_on() -> None:
    """Gives nobody a turn."""


class Snapshot:
    """Series by metric and labels. A metric never has more of them than the catalogue says.

    Attributes:
        numbers: counters and gauges.
        histograms: histograms.
    """

    __slots__ = ("histograms", "numbers")

    def __init__(self) -> None:
        self.numbers: dict[str, dict[Labels, float]] = {}
        self.histograms: dict[str, dict[Labels, Histogram]] = {}

    def add(self, name: str, number: float, *labels: str) -> None:
        """Add to a series. Two gauges become one as the catalogue says."""
        metric = METRICS[name]
        series = self.numbers.setdefault(name, {})
        labels = _bounded(metric, series, labels)
        if labels not in series:
            series[labels] = number
        elif metric.kind == "gauge" and metric.merge in _MERGES:
            series[labels] = _MERGES[metric.merge](series[labels], number)
        else:
            series[labels] += number

    def observe(self, name: str, histogram: Histogram, *labels: str) -> None:
        """Add all durations of a histogram to a series."""
        series = self.histograms.setdefault(name, {})
        labels = _bounded(METRICS[name], series, labels)
        series.setdefault(labels, Histogram()).add(histogram)

    def merge(self, other: Snapshot, *, gauges: bool = True, pause: Callable[[], object] = _go_on) -> None:
        """Add everything that another one has.

        Args:
            gauges: whether to add gauges, which say how something is now. Counters and histograms say what has been.
            pause: called again and again; it may give others their turns.
        """
        for metric, labels, number in other.singles():
            if gauges or metric.kind != "gauge":
                self.add(metric.name, number, *labels)
        for name, spreads in other.histograms.items():
            for labels, histogram in spreads.items():
                pause()
                self.observe(name, histogram, *labels)

    def singles(self) -> Iterator[tuple[Metric, Labels, float]]:
        """All counters and gauges."""
        for name, series in self.numbers.items():
            for labels, number in series.items():
                yield METRICS[name], labels, number

    def encode(self) -> bytes:
        """As bytes, for a file."""
        numbers = {name: list(series.items()) for name, series in self.numbers.items()}
        histograms = {
            name: [(labels, _Spread(one.times, one.seconds)) for labels, one in series.items()]
            for name, series in self.histograms.items()
        }
        return msgspec.msgpack.encode(_File(numbers, histograms))

    @classmethod
    def decode(cls, data: bytes, pause: Callable[[], object] = _go_on) -> Snapshot:
        """The snapshot of a file. Metrics that are not in the catalogue are left out: another version has written them.

        Args:
            pause: called again and again; it may give others their turns.

        Raises:
            ValueError: it is not a snapshot.
        """
        file = msgspec.msgpack.decode(data, type=_File)
        snapshot = cls()
        for name, numbers in file.numbers.items():
            for labels, number in numbers:
                if _is_known(name, labels, histogram=False):
                    snapshot.add(name, number, *labels)
        for name, spreads in file.histograms.items():
            for labels, spread in spreads:
                pause()
                if _is_known(name, labels, histogram=True):
                    snapshot.observe(name, Histogram(spread.times, spread.seconds), *labels)
        return snapshot


def _is_known(name: str, labels: Labels, *, histogram: bool) -> bool:
    metric = METRICS.get(name)
    return metric is not None and len(metric.labels) == len(labels) and (metric.kind == "histogram") == histogram


def _bounded(metric: Metric, series: dict[Labels, float] | dict[Labels, Histogram], labels: Labels) -> Labels:
    """The labels under which a value may be added."""
    return labels if labels in series or len(series) < metric.most - 1 else (OTHER,) * len(metric.labels)
