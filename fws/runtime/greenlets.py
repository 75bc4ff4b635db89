"""Greenlets for short jobs, used again: to map the memory of a new one takes a tenth of a handshake."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from gevent import get_hub
from greenlet import getcurrent, greenlet

# So many wait for a job; each keeps 20 KiB. Jobs that come at once have greenlets of their own beyond that.
IDLE = 16


class GreenletPool:
    """Runs jobs, each in a greenlet that no other has meanwhile."""

    __slots__ = ("_idle", "_jobs")

    def __init__(self) -> None:
        self._idle: list[greenlet] = []
        # Not handed over with the switch: what a greenlet is begun with lives as long as it does.
        self._jobs: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()

    def spawn(self, job: Callable[..., object], *arguments: Any) -> None:
        """Call `job` soon, in a greenlet that may wait.

        Args:
            job: returns whether its greenlet may be used again. That of strange code may not: the code may have left
                a time-out running, which would end another's job.
        """
        hub = get_hub()
        worker = self._idle.pop() if self._idle else greenlet(self._work, hub)
        self._jobs.append((job, arguments))
        hub.loop.run_callback(worker.switch)

    def _work(self) -> None:
        """A worker's life: one job each time it is switched to."""
        while True:
            job, arguments = self._jobs.popleft()
            if not job(*arguments) or len(self._idle) >= IDLE:
                return
            del job, arguments
            self._idle.append(getcurrent())
            get_hub().switch()
