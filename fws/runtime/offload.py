"""Computations in native threads, which would otherwise block the event loop.

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

# The most calls that wait, for each thread. Further ones would exceed the time limit anyway.
WAITING = 25


class Offload:
    """A bounded pool of native threads.

    Args:
        threads: the most threads. They are created when they are needed.
        timeout: seconds that a call may take, including the wait for a thread.
    """

    def __init__(self, threads: int, timeout: float, metrics: Metrics) -> None:
        self._threads = threads
        self._timeout = timeout
        self._metrics = metrics
        self._pool: ThreadPool | None = None
        self._calls = 0

    def set_limits(self, threads: int, timeout: float) -> None:
        """Change both limits for calls from now on."""
        self._threads, self._timeout = threads, timeout
        if self._pool is not None:
            self._pool.maxsize = threads

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call `function` in a thread and return its result. The greenlet blocks.

        Raises:
            OffloadError: all threads are busy and too many calls wait, or it took too long. A running call cannot be
            stopped, and occupies its thread until it ends.
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
        # The pool would print the traceback of an exception.
        try:
            return function(*arguments), None
        except BaseException as error:  # a user's function may raise anything
            return None, error
