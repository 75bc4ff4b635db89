"""What fws has to reach, each as a ratio within one run, so that what slows the machine down slows both sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from result import Figure, Result, figure

PYTHON_SERVERS = ("gevent-websocket", "websockets", "aiohttp", "tornado", "socketify", "engine.io")
FLAT = ("fanout-100", "fanout-1000", "fanout-5000", "fanout-10000")


@dataclass(frozen=True)
class Must:
    """One line of the table. `got` gives None when what it needs was not measured."""

    measure: str
    required: str
    got: Callable[[Result], Figure | None]
    met: Callable[[float], bool]
    unit: str = "×"


@dataclass(frozen=True)
class Verdict:
    must: Must
    got: Figure | None

    @property
    def met(self) -> bool | None:
        return None if self.got is None else self.must.met(self.got.median)


def judge(result: Result) -> list[Verdict]:
    return [Verdict(must, must.got(result)) for must in MUSTS]


def at_least(bound: float) -> Callable[[float], bool]:
    return lambda value: value >= bound


def at_most(bound: float) -> Callable[[float], bool]:
    return lambda value: value <= bound


def times(measure: str, peer: str) -> Callable[[Result], Figure | None]:
    """fws in times of a peer."""
    return lambda result: result.ratio(measure, "fws", peer)


def times_the_best(measure: str, peers: tuple[str, ...]) -> Callable[[Result], Figure | None]:
    """fws in times of the best of several, of those that were measured."""

    def got(result: Result) -> Figure | None:
        ratios = [ratio for peer in peers if (ratio := result.ratio(measure, "fws", peer))]
        return min(ratios, key=lambda ratio: ratio.median, default=None)

    return got


def absolute(measure: str) -> Callable[[Result], Figure | None]:
    return lambda result: result.figure(measure, "fws")


def flatness(result: Result) -> Figure | None:
    """By how much a delivery's processor time differs between the cheapest and the dearest size of channel, in %."""
    costs = [result.figure(measure, "fws", lambda sample: sample.cpu_us) for measure in FLAT]
    known = [cost for cost in costs if cost is not None]
    if len(known) < len(FLAT):
        return None
    medians = [cost.median for cost in known]
    return figure([(max(medians) / min(medians) - 1) * 100], any(cost.noisy for cost in known))


def added(measure: str, base: str, stages: int = 1) -> Callable[[Result], Figure | None]:
    """Processor time that the measure adds to another, in µs for each of so many stages."""
    return lambda result: result.compare(
        (measure, "fws"), (base, "fws"), lambda more, less: (more - less) / stages, lambda sample: sample.cpu_us
    )


MUSTS = (
    Must("echo, 64 clients, to the C limit", "≥ 0.55 ×", times("echo-64", "c-limit"), at_least(0.55)),
    Must("echo, 64 clients, to node `ws`", "> 1 ×", times("echo-64", "node-ws"), lambda value: value > 1),
    Must(
        "echo, 64 clients, to the best Python server but picows",
        "> 1 ×",
        times_the_best("echo-64", PYTHON_SERVERS),
        lambda value: value > 1,
    ),
    Must("echo, 16 in flight on each of 64, to socketify", "≥ 3 ×", times("echo-deep", "socketify"), at_least(3)),
    Must("echo of 64 KiB, 16 clients, to aiohttp", "≥ 1 ×", times("echo-64k", "aiohttp"), at_least(1)),
    Must("fan-out 1,000, one at a time, to the C limit", "≥ 0.95 ×", times("fanout-1000", "c-limit"), at_least(0.95)),
    Must("fan-out 1,000, 64 in flight, to socketify", "≥ 1.3 ×", times("fanout-1000-deep", "socketify"), at_least(1.3)),
    Must("cost of a delivery, 100 to 10,000 members", "within 15 %", flatness, at_most(15), "%"),
    Must("each further filter", "≤ 0.25 µs", added("filters-20", "filters-0", 20), at_most(0.25), "µs"),
    Must("`rate_limit`, `json`, `set` before `broadcast`", "≤ 12 µs", added("usual", "plain"), at_most(12), "µs"),
    Must("idle client", "≤ 10 KiB", absolute("memory"), at_most(10), "KiB"),
    Must("idle CPU, 10,000 clients", "≤ 2 %", absolute("idle"), at_most(2), "%"),
    Must("handshakes, to gevent-websocket", "≥ 1.5 ×", times("churn", "gevent-websocket"), at_least(1.5)),
    Must(
        "p99 to the last of 1,000 at 20 messages/s, to the C limit",
        "≤ 1.2 ×",
        times("latency-20", "c-limit"),
        at_most(1.2),
    ),
)
