"""The requirements for fws.

Most are ratios within one run, because a disturbance of the machine then affects both sides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from result import Figure, Result, figure

PYTHON_SERVERS = ("gevent-websocket", "websockets", "aiohttp", "tornado", "socketify", "engine.io")
FLAT = ("fanout-100", "fanout-1000", "fanout-5000", "fanout-10000")


@dataclass(frozen=True)
class Must:
    """One requirement, which is one line of the table. `got` returns None if a measure that it needs was not taken."""

    measure: str
    required: str
    got: Callable[[Result], Figure | None]
    met: Callable[[float], bool] | None  # None: only shown for comparison
    unit: str = "×"
    by_cpu: Callable[[Result], Figure | None] = lambda result: None  # the same ratio by processor time


@dataclass(frozen=True)
class Verdict:
    must: Must
    got: Figure | None
    by_cpu: Figure | None

    @property
    def met(self) -> bool | None:
        return self.must.met(self.got.median) if self.got and self.must.met else None


def judge(result: Result) -> list[Verdict]:
    return [Verdict(must, must.got(result), must.by_cpu(result)) for must in MUSTS]


def at_least(bound: float) -> Callable[[float], bool]:
    return lambda value: value >= bound


def above(bound: float) -> Callable[[float], bool]:
    return lambda value: value > bound


def at_most(bound: float) -> Callable[[float], bool]:
    return lambda value: value <= bound


def to_peers(measure: str, required: str, name: str, peers: tuple[str, ...], met: Callable[[float], bool]) -> Must:
    """A ratio of the rate of fws to that of a peer. Of several peers, the fastest that was measured counts."""

    def worst(ratio: Callable[[Result, str], Figure | None]) -> Callable[[Result], Figure | None]:
        def got(result: Result) -> Figure | None:
            ratios = [figure for peer in peers if (figure := ratio(result, peer))]
            return min(ratios, key=lambda figure: figure.median, default=None)

        return got

    return Must(
        name,
        required,
        worst(lambda result, peer: result.ratio(measure, "fws", peer)),
        met,
        by_cpu=worst(lambda result, peer: cheapness(result, measure, peer)),
    )


def cheapness(result: Result, measure: str, peer: str) -> Figure | None:
    """How many times as much processor time as fws a peer needs for one unit."""
    return result.compare(
        (measure, peer), (measure, "fws"), lambda left, right: left / right, lambda sample: sample.cpu_us
    )


def latency(result: Result) -> Figure | None:
    return result.ratio("latency-20", "fws", "c-limit")


def absolute(measure: str) -> Callable[[Result], Figure | None]:
    return lambda result: result.figure(measure, "fws")


def flatness(server: str) -> Callable[[Result], Figure | None]:
    """How much more processor time a delivery takes at the most expensive channel size than at the cheapest, in %."""

    def got(result: Result) -> Figure | None:
        costs = [result.figure(measure, server, lambda sample: sample.cpu_us) for measure in FLAT]
        known = [cost for cost in costs if cost is not None]
        if len(known) < len(FLAT):
            return None
        medians = [cost.median for cost in known]
        return figure([(max(medians) / min(medians) - 1) * 100], any(cost.noisy for cost in known))

    return got


def added(measure: str, base: str, stages: int = 1) -> Callable[[Result], Figure | None]:
    """Processor time that a measure needs in addition to `base`, in µs per stage."""
    return lambda result: result.compare(
        (measure, "fws"), (base, "fws"), lambda more, less: (more - less) / stages, lambda sample: sample.cpu_us
    )


MUSTS = (
    to_peers("echo-64", "≥ 0.55 ×", "echo, 64 clients, relative to the C limit", ("c-limit",), at_least(0.55)),
    to_peers("echo-64", "> 1 ×", "echo, 64 clients, relative to node `ws`", ("node-ws",), above(1)),
    to_peers(
        "echo-64",
        "> 1 ×",
        "echo, 64 clients, relative to the fastest Python server except picows",
        PYTHON_SERVERS,
        above(1),
    ),
    to_peers(
        "echo-deep",
        "≥ 3 ×",
        "echo, 64 clients, 16 in flight on each, relative to socketify",
        ("socketify",),
        at_least(3),
    ),
    to_peers("echo-64k", "≥ 1 ×", "echo of 64 KiB, 16 clients, relative to aiohttp", ("aiohttp",), at_least(1)),
    to_peers(
        "fanout-1000",
        "≥ 0.95 ×",
        "fan-out to 1,000, one message at a time, relative to the C limit",
        ("c-limit",),
        at_least(0.95),
    ),
    to_peers(
        "fanout-1000-deep",
        "≥ 1.3 ×",
        "fan-out to 1,000, 64 messages in flight, relative to socketify",
        ("socketify",),
        at_least(1.3),
    ),
    Must("increase of the cost of a delivery, 100 to 10,000 members", "≤ 15 %", flatness("fws"), at_most(15), "%"),
    Must("the same increase for the C limit", "for comparison", flatness("c-limit"), None, "%"),
    Must("cost of each additional filter", "≤ 0.25 µs", added("filters-20", "filters-0", 20), at_most(0.25), "µs"),
    Must(
        "cost of `rate_limit`, `json` and `set` before `broadcast`",
        "≤ 12 µs",
        added("usual", "plain"),
        at_most(12),
        "µs",
    ),
    Must("memory of an idle client", "≤ 10 KiB", absolute("memory"), at_most(10), "KiB"),
    Must("processor time of 10,000 idle clients", "≤ 2 %", absolute("idle"), at_most(2), "%"),
    to_peers("churn", "≥ 1.5 ×", "handshakes, relative to gevent-websocket", ("gevent-websocket",), at_least(1.5)),
    Must(
        "p99 latency to the last of 1,000 at 20 messages/s, relative to the C limit", "≤ 1.2 ×", latency, at_most(1.2)
    ),
)
