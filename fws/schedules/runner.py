"""Runs schedules: waits until they are due, and runs their pipelines on one node or on each."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping

from fws.base.errors import StorageError
from fws.base.times import rfc3339
from fws.config.schedules import Schedule
from fws.pipeline.pipeline import Pipeline
from fws.pipeline.storage import Storage
from fws.runtime.context import Context
from fws.schedules.claim import RENEW, Claims
from fws.schedules.ticker import PipelineTicker

logger = logging.getLogger("fws")

# The longest wait in seconds. Then the clock is looked at again, which somebody may have set.
LOOK = 60.0
# Seconds by which nodes that did not run the last tick are late, so that a schedule stays on one node while that lives.
GRACE = 0.5
# Seconds by which the clocks of nodes may differ.
AHEAD = 60.0
# Missed ticks that are counted one by one. A machine that has slept for a year has missed more.
MOST_MISSED = 1000


class Schedules:
    """The schedules of one node.

    Args:
        storage: where nodes agree on who runs a tick.
    """

    def __init__(self, context: Context, storage: Storage) -> None:
        self._context = context
        self._storage = storage
        self._node = secrets.token_urlsafe(9)
        self._runners: dict[str, Runner] = {}

    def apply(self, schedules: Mapping[str, Schedule], pipelines: Mapping[str, Pipeline]) -> None:
        """Begin to run schedules, or go on with other ones after a reload. A tick in progress is not affected."""
        for name in self._runners.keys() - schedules.keys():
            self._runners.pop(name).stop()
        for name, schedule in schedules.items():
            runner = self._runners.get(name)
            if runner is None:
                claims = Claims(self._storage, f"schedule:{name}", self._node)
                runner = self._runners[name] = Runner(
                    name, self._context, claims, GRACE if self._storage.waits else 0.0
                )
            runner.apply(schedule, pipelines[name])

    def stop(self) -> None:
        """Let no schedule be due any more. What runs at the moment goes on."""
        for runner in self._runners.values():
            runner.stop()

    @property
    def running(self) -> bool:
        """Whether a pipeline is running."""
        return any(runner.running for runner in self._runners.values())


class Runner:
    """Runs one schedule on one node.

    Each tick runs at most once, on all nodes together or on each one. While the storage is away, a schedule of all
    nodes together does not run.

    Args:
        grace: seconds by which this node is late where it did not run the last tick.

    Attributes:
        running: the number of ticks that are running.
    """

    def __init__(self, name: str, context: Context, claims: Claims, grace: float) -> None:
        self.name = name
        self.running = 0
        self._context = context
        self._claims = claims
        self._grace = grace
        self._schedule: Schedule | None = None
        self._pipeline = Pipeline("tick")
        self._cancel: Callable[[], None] | None = None
        # The last tick that is known to have run, or not to count as missed.
        self._last = context.wall()
        # Whether this node has run the last tick.
        self._mine = False

    def apply(self, schedule: Schedule, pipeline: Pipeline) -> None:
        """Go on with these settings and this pipeline."""
        self._pipeline = pipeline
        if schedule != self._schedule:
            self._schedule = schedule
            self._last = self._context.wall()
            self._wait(schedule)

    def stop(self) -> None:
        """Be due no more."""
        if self._cancel is not None:
            self._cancel()
            self._cancel = None

    def _late(self, schedule: Schedule) -> float:
        return 0.0 if self._mine or schedule.on == "each" else self._grace

    def _wait(self, schedule: Schedule) -> None:
        """Wait for the next tick."""
        self.stop()
        wait = schedule.times().after(self._last) + self._late(schedule) - self._context.wall()
        self._cancel = self._context.scheduler.after(min(max(wait, 0.0), LOOK), self._look)

    def _look(self) -> None:
        """In the loop: run the latest tick whose time has come."""
        schedule = self._schedule
        assert schedule is not None
        times = schedule.times()
        now = self._context.wall() - self._late(schedule)
        due, passed = times.after(self._last), 0
        while (following := times.after(due)) <= now and passed < MOST_MISSED:
            due, passed = following, passed + 1
        if due <= now:
            self._begin(schedule, due, passed)
            # After a thousand ticks, the others are left out.
            self._last = due if passed < MOST_MISSED else now
        self._wait(schedule)

    def _begin(self, schedule: Schedule, due: float, passed: int) -> None:
        if self.running and not schedule.overlap:
            self._missed(passed + 1, "an earlier one is still running")
            return
        self.running += 1
        run = self._claim if schedule.on == "one" else self._run
        self._context.scheduler.spawn(run, schedule, due, passed)

    def _missed(self, number: int, why: str) -> None:
        if number:
            self._context.metrics.count("ticks_missed", number)
            ticks = "a tick" if number == 1 else f"{number} ticks"
            logger.warning("schedule %s has missed %s: %s", self.name, ticks, why, extra={"cause": self.name})

    def _claim(self, schedule: Schedule, due: float, passed: int) -> None:
        """In a greenlet: run a tick unless another node does."""
        try:
            mine, before = self._claims.take(due, overlap=schedule.overlap)
        except StorageError as error:
            self.running -= 1
            self._mine = False
            self._context.faults.report("tick", error)
            self._missed(passed + 1, "it cannot be known whether another node runs it")
            return
        self._mine = mine
        if not mine:
            self.running -= 1
            if before is not None and before > self._context.wall() + AHEAD:
                self._missed(passed + 1, f"one was claimed for {rfc3339(before)}, so the clock of a node is wrong")
            return
        if before is not None:
            passed = self._between(schedule, before, due)
        cancel = self._renew() if not schedule.overlap else None
        try:
            self._run(schedule, due, passed)
        finally:
            if cancel is not None:
                cancel()
                self._release()

    def _release(self) -> None:
        try:
            self._claims.release()
        except StorageError as error:  # it expires
            self._context.faults.report("tick", error)

    @staticmethod
    def _between(schedule: Schedule, before: float, due: float) -> int:
        """The number of ticks between two, which no node has run."""
        times, number = schedule.times(), 0
        while number < MOST_MISSED and (before := times.after(before)) < due:
            number += 1
        return number

    def _renew(self) -> Callable[[], None]:
        """Renew the claim until the function is called that is returned."""
        over = False
        cancel: Callable[[], None]

        def end() -> None:
            nonlocal over
            over = True
            cancel()

        def again() -> None:
            nonlocal cancel
            cancel = self._context.scheduler.after(RENEW, lambda: self._context.scheduler.spawn(renew))

        def renew() -> None:
            if over:
                return
            try:
                self._claims.renew()
            except StorageError as error:
                self._context.faults.report("tick", error)
            if not over:
                again()

        again()
        return end

    def _run(self, schedule: Schedule, due: float, passed: int) -> None:
        try:
            self._missed(passed, "nobody has run them in time")
            self._context.metrics.count("ticks")
            message = {"schedule": self.name, "time": rfc3339(due), "missed": passed}
            PipelineTicker(self._context).run(self._pipeline, message)
        finally:
            self.running -= 1
