"""What the parts of one process share, and nothing that is above them."""

from __future__ import annotations

import time
from collections.abc import Callable

from fws.base.metrics import Metrics
from fws.base.timers import Timers
from fws.runtime.faults import Faults
from fws.runtime.refusals import Refusals
from fws.runtime.scheduler import Scheduler


class Context:
    """Clocks, the event loop, timers, counters and fault reports of one process.

    The node makes one and hands it to hub, clients and brokers. Tests make one with clocks that stand still.

    Attributes:
        clock: monotonic seconds, for measuring spans.
        wall: Unix time in seconds, for showing to people.
        scheduler: calls in the event loop.
        timers: calls at a time of the clock; the sweeper makes them.
        metrics: counters.
        faults: where what a filter raises ends up.
        refusals: where clients that are refused are counted and logged.
    """

    __slots__ = ("clock", "faults", "metrics", "refusals", "scheduler", "timers", "wall")

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        scheduler: Scheduler | None = None,
        timers: Timers | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.clock = clock
        self.wall = wall
        self.scheduler = Scheduler() if scheduler is None else scheduler
        self.timers = Timers() if timers is None else timers
        self.metrics = Metrics() if metrics is None else metrics
        self.faults = Faults(self.metrics, clock)
        self.refusals = Refusals(self.metrics, clock)
