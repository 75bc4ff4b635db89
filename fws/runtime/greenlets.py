"""A pool of greenlets for short jobs. Mapping the memory of a new greenlet takes a tenth of a handshake."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from gevent import get_hub
from greenlet import getcurrent, greenlet

# The most greenlets that wait for a job. Each takes 20 KiB. Further jobs at the same time get new greenlets.
IDLE = 16


class GreenletPool:
    """Runs each job in a greenlet that no other job uses meanwhile."""

    __slots__ = ("_idle", "_jobs")

    def __init__(self) -> None:
        self._idle: list[greenlet] = []
        # Not passed with the switch, because the first arguments of a greenlet live as long as the greenlet.
        self._jobs: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()

    def spawn(self, job: Callable[..., object], *arguments: Any) -> None:
        """Call `job` soon, in a greenlet that may block.

        Args:
            job: returns whether its greenlet may be used again. After untrusted code it may not, because the code may
                have left a time-out running, which would end another job.
        """
        hub = get_hub()
        worker = self._idle.pop() if self._idle else greenlet(self._work, hub)
        self._jobs.append((job, arguments))
        hub.loop.run_callback(worker.switch)

    def _work(self) -> None:
        """The loop of a greenlet: one job for each switch."""
        while True:
            job, arguments = self._jobs.popleft()
            if not job(*arguments) or len(self._idle) >= IDLE:
                return
            del job, arguments
            self._idle.append(getcurrent())
            get_hub().switch()
