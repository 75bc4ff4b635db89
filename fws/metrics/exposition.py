"""A snapshot as text: the format of Prometheus, or as OpenMetrics for a client that asks for it.

This is the only module that imports prometheus-client. It is imported when there is an `[admin]` listener.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import Metric as Family
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from fws.base.histogram import PER_OCTAVE, Histogram
from fws.metrics.catalogue import METRICS, OCTAVES, Metric
from fws.metrics.snapshot import Snapshot

# Samples between two pauses.
PACE = 50
_LIMITS = [
    floatToGoString(2**octave * 1e-6)  # type: ignore[no-untyped-call]
    for octave in OCTAVES
]


class _Families(Collector):
    """The metrics of a snapshot, as prometheus-client wants them."""

    def __init__(self, snapshot: Snapshot, pause: Callable[[], object]) -> None:
        self._snapshot = snapshot
        self._pause = pause

    def collect(self) -> Iterator[Family]:
        for metric in METRICS.values():
            family = _family(metric, self._snapshot, self._pause)
            if family.samples:
                family.samples = _Paced(family.samples, self._pause)
                yield family


class _Paced(list[Sample]):
    """Samples that give others their turns while the library makes text of them: 1,000 take 10 ms."""

    def __init__(self, samples: list[Sample], pause: Callable[[], object]) -> None:
        super().__init__(samples)
        self._pause = pause

    def __iter__(self) -> Iterator[Sample]:
        for number, sample in enumerate(super().__iter__()):
            if number % PACE == 0:
                self._pause()
            yield sample


def exposition(snapshot: Snapshot, accept: str, pause: Callable[[], object]) -> tuple[bytes, str]:
    """The text, and its type.

    Args:
        accept: the header `Accept` of the request.
        pause: called again and again; it may give others their turns.
    """
    encode, kind = choose_encoder(accept)
    return encode(_Families(snapshot, pause)), kind


def _family(metric: Metric, snapshot: Snapshot, pause: Callable[[], object]) -> Family:
    if metric.kind == "histogram":
        histograms = HistogramMetricFamily(metric.name, metric.text, labels=metric.labels)
        for labels, histogram in snapshot.histograms.get(metric.name, {}).items():
            histograms.add_metric(labels, _buckets(histogram), histogram.seconds)
            pause()
        return histograms
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    numbers = kind(metric.name, metric.text, labels=metric.labels)
    for labels, number in snapshot.numbers.get(metric.name, {}).items():
        numbers.add_metric(labels, number)
    return numbers


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """The number of durations below each limit, and of all."""
    found: list[tuple[str, float]] = []
    times = sorted(histogram.times.items())
    passed = at = 0
    for octave, limit in zip(OCTAVES, _LIMITS, strict=True):
        while at < len(times) and times[at][0] < octave * PER_OCTAVE:
            passed += times[at][1]
            at += 1
        found.append((limit, passed))
    return [*found, ("+Inf", histogram.count)]
