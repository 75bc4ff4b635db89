"""The watchdog: names what holds the loop, with its stack, while it does.

A thread of the system's looks on. Every now and then it asks the loop for a sign of life; that is all it costs, a
message costs nothing. When the sign does not come in time, the stack of the thread that the loop runs in is the answer.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from gevent import get_hub
from gevent.monkey import get_original

from fws.base.metrics import Metrics
from fws.pipeline.traceback import whereabouts

# Signs of life in the time of `max_block`, so that what is longer is seen while it lasts.
LOOKS = 2
# Seconds later than asked for that a sleep may end. One that ends later still was held up itself: by C code that keeps
# Python's lock, or because the machine has no time for the process. Of that time counts what the loop's thread worked.
LATE = 0.05
# What is still held when it is told is told again after so many times as long.
AGAIN = 10


class Watchdog:
    """Watches the loop of the greenlet that makes it.

    Args:
        max_block: seconds that the loop may be held.
        tell: writes a line; called from the watchdog's own thread.
    """

    def __init__(self, max_block: float, metrics: Metrics, tell: Callable[[str], None]) -> None:
        self._max_block = max_block
        self._metrics = metrics
        self._tell = tell
        self._asked = 0
        self._answered = 0
        self._sleep = get_original("time", "sleep")
        self._thread = get_original("threading", "get_ident")()
        self._work = time.pthread_getcpuclockid(self._thread)
        self._over = False
        self._sign: Any = get_hub().loop.async_()
        self._sign.start(self._answer)

    def start(self) -> None:
        """Look on until `stop`."""
        get_original("_thread", "start_new_thread")(self._look_on, ())

    def stop(self) -> None:
        """Ends within `max_block`."""
        self._over = True

    def _answer(self) -> None:
        self._answered = self._asked

    def _look_on(self) -> None:
        while not self._over:
            self._asked += 1
            asked_at = time.monotonic()
            self._sign.send()
            told = 0.0
            while not self._over:
                late, worked = self._wait()
                if late > LATE:
                    asked_at += max(0.0, late - worked)
                    if worked >= self._max_block and not told:
                        # It kept Python's lock, perhaps from a moment after the sign: whoever did has just let go.
                        told = worked
                        self._report(worked, kept=True)
                if self._answered == self._asked:
                    break
                held = time.monotonic() - asked_at
                if held >= (told * AGAIN or self._max_block):
                    self._report(held, again=told > 0)
                    told = held

    def _wait(self) -> tuple[float, float]:
        """Sleep until the next look. How many seconds that was late, and how many the loop's thread worked."""
        asked, began, before = self._max_block / LOOKS, time.monotonic(), time.clock_gettime(self._work)
        self._sleep(asked)
        return time.monotonic() - began - asked, time.clock_gettime(self._work) - before

    def _report(self, held: float, *, again: bool = False, kept: bool = False) -> None:
        where = whereabouts(sys._current_frames().get(self._thread))
        if self._answered == self._asked and not kept:
            return  # it has just let go, and where it is now is no place to blame
        if not again:
            self._metrics.count("blocks")
        self._tell(f"the event loop is {'still ' if again else ''}blocked for {held * 1000:.0f} ms by {where}")
