"""A clock and an event loop that a test moves by hand. No call waits for real time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
from gevent.hub import Waiter


class Clock:
    """A clock that stands still until it is advanced."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Loop:
    """A scheduler (`fws.runtime.scheduler.Scheduler`) whose turns are run one by one.

    Args:
        clock: decides when the calls of `after` are due.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._timers: list[tuple[float, Callable[[], object]]] = []
        self._soon: list[Callable[[], None]] = []
        self._later: list[Callable[[], None]] = []
        self._greenlets: list[Any] = []

    def soon(self, call: Callable[..., None], *arguments: Any) -> None:
        self._soon.append(lambda: call(*arguments))

    @property
    def crowded(self) -> bool:
        return bool(self._later)

    def later(self, call: Callable[[], None]) -> None:
        self._later.append(call)

    def after(self, seconds: float, call: Callable[[], object]) -> Callable[[], None]:
        timer = (self._clock() + seconds, call)
        self._timers.append(timer)

        def cancel() -> None:
            self._timers = [one for one in self._timers if one is not timer]

        return cancel

    @property
    def next_timer(self) -> float | None:
        """When the next call of `after` is due; None if there is none."""
        return min((when for when, _ in self._timers), default=None)

    def spawn(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._greenlets.append(gevent.spawn(function, *arguments))

    @property
    def due(self) -> bool:
        """Whether there is something to do now."""
        now = self._clock()
        return bool(self._soon or self._later or self._greenlets or any(when <= now for when, _ in self._timers))

    def turn(self, poll: Callable[[], bool] = lambda: False) -> bool:
        """Make the calls that are due, in gevent's hub as in a server. Returns whether there was anything to do.

        Args:
            poll: lets the sockets be read; it returns whether there was anything.
        """
        now = self._clock()
        due = sorted((timer for timer in self._timers if timer[0] <= now), key=lambda timer: timer[0])
        self._timers = [timer for timer in self._timers if timer[0] > now]
        calls = [*self._soon, *(call for _, call in due), *self._later]
        self._soon, self._later = [], []
        greenlets, self._greenlets = self._greenlets, []

        def run() -> bool:
            for call in calls:
                call()
            return poll()

        polled = in_hub(run)
        if greenlets:
            gevent.sleep(0)
        return bool(calls or greenlets or polled)


def in_hub(call: Callable[[], Any]) -> Any:
    """Call a function in gevent's hub, where blocking is an error, and return what it returns."""
    outcome: list[Any] = []
    waiter = Waiter()

    def run() -> None:
        try:
            outcome.append((call(), None))
        except BaseException as error:
            outcome.append((None, error))
        waiter.switch(None)

    gevent.get_hub().loop.run_callback(run)
    waiter.get()
    result, error = outcome[0]
    if error is not None:
        raise error
    return result
