"""Computations in native threads: what would block the event loop for more than a moment.

gevent's greenlets share one thread, so a filter that resizes an image or hashes a password with bcrypt makes every
client wait. Here it runs in a native thread, and only the greenlet that asked for it waits. Python code in a thread
still takes turns with the event loop for the interpreter's lock; C code that releases the lock runs in parallel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent import Timeout
from gevent.threadpool import ThreadPool

from fws.base.errors import OffloadError
from fws.base.metrics import Metrics

# Calls that may wait for a thread, for each thread: more than this would not be served within a time limit anyway.
WAITING = 25


class Offload:
    """A bounded pool of native threads.

    Args:
        threads: how many there are at most; they are made when they are needed.
        timeout: seconds that a call may take, waiting for a thread included.
    """

    def __init__(self, threads: int, timeout: float, metrics: Metrics) -> None:
        self._threads = threads
        self._timeout = timeout
        self._metrics = metrics
        self._pool: ThreadPool | None = None
        self._calls = 0

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call `function` in a thread, and return what it returns. The greenlet waits.

        Raises:
            OffloadError: all threads are busy and too many calls wait, or it took too long. What runs cannot be
                stopped; its thread is free again when it ends.
            BaseException: whatever the function raised, with its traceback.
        """
        if self._calls >= self._threads * (1 + WAITING):
            self._metrics.count("offloads_refused")
            raise OffloadError(f"all {self._threads} threads are busy, and {self._calls} calls wait")
        if self._pool is None:
            self._pool = ThreadPool(self._threads)
        self._calls += 1
        try:
            with Timeout(self._timeout, OffloadError(f"it took longer than {self._timeout:g} s")):
                result = self._pool.spawn(self._run, function, arguments)
                value, error = result.get()
        except OffloadError:
            self._metrics.count("offloads_late")
            raise
        finally:
            self._calls -= 1
        if error is not None:
            raise error
        return value

    @staticmethod
    def _run(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, BaseException | None]:
        # The pool would print the traceback of what is raised here.
        try:
            return function(*arguments), None
        except BaseException as error:  # a user's function may raise anything
            return None, error
