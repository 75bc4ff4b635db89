"""The sweeper: one greenlet that pings, and ends connections that are dead or stuck."""

from __future__ import annotations

import gevent

from fws.channels.hub import Hub
from fws.runtime.context import Context

# Half a second keeps every time-out within half a second of its figure; a sweep over 10,000 clients takes 1.5 ms.
TICK = 0.5


class Sweeper:
    """Runs `sweep` every half a second."""

    def __init__(self, hub: Hub, context: Context) -> None:
        self._hub = hub
        self._context = context

    def run(self) -> None:
        """For a greenlet of its own; ends when that is killed."""
        while True:
            gevent.sleep(TICK)
            self.sweep(self._context.clock())

    def sweep(self, now: float) -> None:
        """Let each client see what time it is, and make the timers' calls that are due."""
        for client in self._hub.everybody():
            client.tend(now, TICK)
        self._context.timers.run(now, lambda error: self._context.faults.report("timer", error))
