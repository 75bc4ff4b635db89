"""Timers: calls at a given time for any number of clients, without a greenlet or a timer of the event loop for each."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count

# The most cancelled timers in the queue before it is cleaned up.
MAX_CANCELLED = 1000


class Timer:
    """One call at a given time, unless it is cancelled before."""

    __slots__ = ("_timers", "call")

    def __init__(self, timers: Timers, call: Callable[[], object]) -> None:
        self._timers = timers
        self.call: Callable[[], object] | None = call

    def cancel(self) -> None:
        """Do not make the call. Does nothing if it was made or cancelled already."""
        if self.call is not None:
            self.call = None
            self._timers.cancelled()


class Timers:
    """Calls at given times, the earliest first. The sweeper makes them every half second."""

    __slots__ = ("_cancelled", "_numbers", "_row")

    def __init__(self) -> None:
        self._row: list[tuple[float, int, Timer]] = []
        self._numbers = count()
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self._row)

    def at(self, when: float, call: Callable[[], object]) -> Timer:
        """Make a call as soon as the clock reaches `when`. It runs in the event loop and must not block."""
        timer = Timer(self, call)
        heappush(self._row, (when, next(self._numbers), timer))
        return timer

    def run(self, now: float, failed: Callable[[BaseException], object]) -> None:
        """Make the calls that are due. `failed` gets the exception of a call, and the others are made nevertheless."""
        due = []
        while self._row and self._row[0][0] <= now:
            due.append(heappop(self._row)[2])
        for timer in due:
            call, timer.call = timer.call, None
            if call is None:
                self._cancelled -= 1
                continue
            try:
                call()
            except BaseException as error:  # a filter may raise anything
                failed(error)

    def cancelled(self) -> None:
        """A timer that may still be in the queue was cancelled."""
        self._cancelled += 1
        if self._cancelled > MAX_CANCELLED and self._cancelled * 2 > len(self._row):
            self._row = [entry for entry in self._row if entry[2].call is not None]
            heapify(self._row)
            self._cancelled = 0
