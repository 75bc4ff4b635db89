"""The context: what the parts of one process share."""

from __future__ import annotations

import time
from collections.abc import Callable

from fws.base.metrics import Metrics
from fws.base.timers import Timers
from fws.runtime.faults import Faults
from fws.runtime.refusals import Refusals
from fws.runtime.scheduler import Scheduler
from fws.runtime.traffic import Traffic


class Context:
    """Clocks, event loop, timers, counters, fault reports and refusals of one process.

    The node makes one and hands it to hub, clients and brokers. Tests make one with clocks of their own.

    Attributes:
        clock: monotonic seconds, to measure time.
        wall: Unix time in seconds, to show to people.
        scheduler: calls in the event loop.
        timers: calls at a time of the clock, which the sweeper makes.
        metrics: counters.
        traffic: what goes through the sockets.
        faults: handles exceptions of filters.
        refusals: counts and logs refused clients.
    """

    __slots__ = ("clock", "faults", "metrics", "refusals", "scheduler", "timers", "traffic", "wall")

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
        self.traffic = Traffic()
        self.faults = Faults(self.metrics, clock, wall)
        self.refusals = Refusals(self.metrics, clock)
