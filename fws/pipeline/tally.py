"""Tallies: how often the stages of a pipeline ran, how their runs ended, and how long they took.

A message costs one subtraction, however many stages it passes: a stage has run as often as its pipeline has begun,
without the runs that ended before. Only one run in `MAX_STRIDE` is measured where there are many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from fws.base.errors import Close, Refusal
from fws.base.histogram import Histogram

Hook = Callable[..., Any]
# The most runs of which one is measured.
MAX_STRIDE = 256
# While measured runs are less than this many seconds apart, fewer are measured.
SPACING = 0.01
# Also what Python itself raises to end a program, such as `sys.exit`: in a filter it is as faulty.
_FAULTS = (Exception, SystemExit, KeyboardInterrupt, GeneratorExit)
# More runs than there will ever be: none is measured.
_NEVER = 1 << 62


class StageCounts:
    """The counts of one stage. They only grow.

    Attributes:
        runs: calls of its filter.
        drops: runs that ended the event with `DROP`.
        faults: runs in which the filter raised an exception that is no outcome.
        closes: runs that closed the connection.
        refusals: runs that refused the client.
        times: how long the runs took. Not every run is measured: each duration counts for the runs since the last one.
    """

    __slots__ = ("closes", "drops", "faults", "refusals", "runs", "times")

    def __init__(self) -> None:
        self.runs = 0
        self.drops = 0
        self.faults = 0
        self.closes = 0
        self.refusals = 0
        self.times = Histogram()

    def add(self, other: StageCounts, runs: int | None = None) -> None:
        """Count everything that another one has counted.

        Args:
            runs: instead of its own.
        """
        self.runs += other.runs if runs is None else runs
        self.drops += other.drops
        self.faults += other.faults
        self.closes += other.closes
        self.refusals += other.refusals
        self.times.add(other.times)

    def since(self, earlier: StageCounts) -> StageCounts:
        """What was counted since an earlier copy of it."""
        change = StageCounts()
        for name in ("runs", "drops", "faults", "closes", "refusals"):
            setattr(change, name, getattr(self, name) - getattr(earlier, name))
        change.times = self.times.since(earlier.times)
        return change

    def ended(self, error: BaseException) -> None:
        """A run has raised. What ends a greenlet, such as a time limit, is not counted."""
        if isinstance(error, Close):
            self.closes += 1
        elif isinstance(error, Refusal):
            self.refusals += 1
        elif isinstance(error, _FAULTS):
            self.faults += 1


class Sampling:
    """Decides which runs are measured: all of them while they are rare, and one of 256 where they are many.

    Attributes:
        left: the number of runs until the next one that is measured. The code that begins a run subtracts one.
    """

    __slots__ = ("_clock", "_last", "_passed", "_stride", "left")

    def __init__(self) -> None:
        self.left = self._stride = _NEVER
        self._passed = 0
        self._clock: Callable[[], float] | None = None
        self._last = 0.0

    @property
    def begun(self) -> int:
        """The number of runs."""
        return self._passed + self._stride - self.left

    def measure(self, clock: Callable[[], float] | None) -> None:
        """Measure runs from now on, on a monotonic clock; None to measure none."""
        self._passed, self._clock = self.begun, clock
        self.left = self._stride = _NEVER if clock is None else 1

    def take(self) -> tuple[Callable[[], float], int]:
        """The present run is measured: the clock, and the number of runs that it counts for."""
        clock, weight = self._clock, self._stride
        assert clock is not None
        now = clock()
        are_dense, self._last = now - self._last < SPACING, now
        self._passed += weight
        self.left = self._stride = min(2 * weight, MAX_STRIDE) if are_dense else max(weight // 2, 1)
        return clock, weight


class Tally(Sampling):
    """The counts of one pipeline.

    Args:
        stages: the number of its stages.
    """

    __slots__ = ("_apart", "_ended", "_entered", "_stages")

    def __init__(self, stages: int) -> None:
        super().__init__()
        self._stages = tuple(StageCounts() for _ in range(stages))
        self._apart = tuple(Sampling() for _ in range(stages))
        # Runs that began at a stage and not at the first one; runs that got no further than a stage.
        self._entered = [0] * stages
        self._ended = [0] * stages

    def measure(self, clock: Callable[[], float] | None) -> None:
        super().measure(clock)
        for sampling in self._apart:
            sampling.measure(clock)

    def measured(self, hooks: Sequence[Hook]) -> Iterator[Hook]:
        """The hooks of the present run, each of which measures itself."""
        clock, weight = self.take()
        return iter(
            [
                partial(_measured, stage.times, clock, weight, hook)
                for stage, hook in zip(self._stages, hooks, strict=True)
            ]
        )

    def rest(self, count: int, hooks: Sequence[Hook]) -> tuple[Rest, tuple[Hook, ...]]:
        """The last stages, for messages that go on by themselves.

        Args:
            count: their number.
            hooks: theirs.

        Returns:
            Their tally, and hooks that count their runs for it.
        """
        first = len(self._stages) - count
        stages = self._stages[first:]
        counting = tuple(
            partial(_counted, stage, sampling, hook)
            for stage, sampling, hook in zip(stages, self._apart[first:], hooks, strict=True)
        )
        return Rest(stages), counting

    def enter(self, first: int) -> None:
        """A run begins at the stage with this number, where an earlier one has ended. There may be no such stage."""
        if first < len(self._entered):
            self._entered[first] += 1

    def split(self, left: int) -> None:
        """A run has ended at the stage that has `left` stages after it, and others go on from there by themselves."""
        self._ended[len(self._ended) - left - 1] += 1

    def dropped(self, left: int) -> None:
        """A run has ended with `DROP` at the stage that has `left` stages after it."""
        place = len(self._ended) - left - 1
        self._ended[place] += 1
        self._stages[place].drops += 1

    def raised(self, left: int, error: BaseException) -> None:
        """A run has ended with an exception at the stage that has `left` stages after it."""
        place = len(self._ended) - left - 1
        self._ended[place] += 1
        self._stages[place].ended(error)

    def counts(self) -> Iterator[StageCounts]:
        """A copy of the counts of each stage, in order."""
        runs = self.begun
        for place, stage in enumerate(self._stages):
            runs += self._entered[place]
            copy = StageCounts()
            copy.add(stage, stage.runs + runs)
            yield copy
            runs -= self._ended[place]


class Rest(Tally):
    """The tally of the last stages of a pipeline, whose hooks count their own runs.

    It has no counts besides those of its stages, which the tally of the whole pipeline shares and gives to others.

    Args:
        stages: their counts.
    """

    __slots__ = ()

    def __init__(self, stages: tuple[StageCounts, ...]) -> None:
        self.left = _NEVER
        self._stages = stages

    def rest(self, count: int, hooks: Sequence[Hook]) -> tuple[Rest, tuple[Hook, ...]]:
        return Rest(self._stages[len(self._stages) - count :]), tuple(hooks)

    def joined(self, other: Tally) -> Rest:
        """The tally of its stages and then those of another one."""
        return Rest(self._stages + other._stages)

    def split(self, left: int) -> None:
        pass

    def dropped(self, left: int) -> None:
        self._stages[len(self._stages) - left - 1].drops += 1

    def raised(self, left: int, error: BaseException) -> None:
        self._stages[len(self._stages) - left - 1].ended(error)


def _counted(stage: StageCounts, sampling: Sampling, hook: Hook, *arguments: Any) -> Any:
    stage.runs += 1
    sampling.left -= 1
    return hook(*arguments) if sampling.left else _measured(stage.times, *sampling.take(), hook, *arguments)


def _measured(times: Histogram, clock: Callable[[], float], weight: int, hook: Hook, *arguments: Any) -> Any:
    began = clock()
    try:
        return hook(*arguments)
    finally:
        times.observe(clock() - began, weight)
