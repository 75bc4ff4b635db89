"""By how much the event loop is late."""

from __future__ import annotations

from collections.abc import Callable

import gevent

from fws.base.histogram import Histogram

# Seconds between two measurements, and seconds for which the worst one is remembered, at least and at most twice.
EVERY = 0.5
WORST = 30.0


class Lag:
    """Measures how much longer than planned a sleep takes.

    Args:
        clock: monotonic seconds.

    Attributes:
        seconds: all measurements.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.seconds = Histogram()
        self._clock = clock
        self._since = clock()
        self._worst = self._before = 0.0

    @property
    def worst(self) -> float:
        """The worst one lately, in seconds."""
        return max(self._worst, self._before)

    def run(self) -> None:
        """Measure in a greenlet of its own, until that is killed."""
        while True:
            planned = self._clock() + EVERY
            gevent.sleep(EVERY)
            now = self._clock()
            self.note(max(0.0, now - planned), now)

    def note(self, late: float, now: float) -> None:
        """The loop was late by so many seconds."""
        self.seconds.observe(late)
        if now - self._since >= WORST:
            self._since, self._before, self._worst = now, self._worst, 0.0
        self._worst = max(self._worst, late)
