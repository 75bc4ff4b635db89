"""The watchdog: names what blocks the event loop, with its stack, while it does.

A native thread regularly asks the event loop for a sign of life. This is the only cost, and messages cost nothing. If
the sign is late, the thread reads the stack of the event loop's thread.
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

# Signs of life within `max_block`, so that a longer block is noticed while it lasts.
LOOKS = 2
# Seconds by which a sleep may be late. If it is later, it was delayed itself: by C code that keeps the interpreter's
# lock, or because the process got no processor. Then only the processor time of the event loop's thread counts.
LATE = 0.05
# A block that lasts is logged again after this many times as long.
AGAIN = 10


class Watchdog:
    """Watches the event loop of the greenlet that creates it.

    Args:
        max_block: seconds for which the loop may be blocked. It may be changed later.
        tell: writes a line. It is called in the watchdog's thread.
    """

    def __init__(self, max_block: float, metrics: Metrics, tell: Callable[[str], None]) -> None:
        self.max_block = max_block
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
        self._sign.stop()  # the loop would keep what the watchdog tells of

    def _answer(self) -> None:
        self._answered = self._asked

    def _look_on(self) -> None:
        while not self._over:
            self._asked += 1
            asked_at = time.monotonic()
            self._sign.send()
            reported = 0.0
            while not self._over:
                late, worked = self._wait()
                if late > LATE:
                    asked_at += max(0.0, late - worked)
                    if worked >= self.max_block and not reported:
                        # Code that kept the interpreter's lock, perhaps since a moment after the sign, has just
                        # released it.
                        reported = worked
                        self._report(worked, kept=True)
                if self._answered == self._asked:
                    break
                held = time.monotonic() - asked_at
                if held >= (reported * AGAIN or self.max_block):
                    self._report(held, again=reported > 0)
                    reported = held

    def _wait(self) -> tuple[float, float]:
        """Sleep until the next check. Returns the seconds by which it was late, and those that the loop's thread
        worked.
        """
        asked, began, before = self.max_block / LOOKS, time.monotonic(), time.clock_gettime(self._work)
        self._sleep(asked)
        return time.monotonic() - began - asked, time.clock_gettime(self._work) - before

    def _report(self, held: float, *, again: bool = False, kept: bool = False) -> None:
        where = whereabouts(sys._current_frames().get(self._thread))
        if self._answered == self._asked and not kept:
            return  # the block has just ended, and the present place is not its cause
        if not again:
            self._metrics.count("blocks")
        self._tell(f"the event loop is {'still ' if again else ''}blocked for {held * 1000:.0f} ms by {where}")
