"""What a fair server must know of gevent's loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from select import POLLOUT
from time import perf_counter, time
from typing import Any, TextIO

from gevent import Timeout, get_hub, spawn_raw
from gevent.hub import Waiter
from gevent.monkey import get_original

# Longest work done in one go before others have their turn, in seconds. With a bound of 100 ms on anyone's wait, a few
# milliseconds leave room for a dozen busy clients and cost under 1 % in switches.
BUDGET = 0.004


class Deadline(Timeout):
    """The server's own limit on a handshake or a response. Not to be taken for a time-out that a filter set."""


def pause() -> None:
    """Let every other greenlet and socket have its turn.

    `gevent.sleep(0)` would not: its callbacks run again before the sockets are polled, up to fifty times in a row.
    A timer of zero seconds fires after the poll.
    """
    hub = get_hub()
    hub.wait(hub.loop.timer(0.0))


def queue_up(later: Callable[[Callable[[], None]], None]) -> None:
    """Wait for a turn of `Scheduler.later`. From a greenlet."""
    waiter = Waiter()
    later(partial(waiter.switch, None))
    waiter.get()


def end_of_turn() -> float:
    """When a turn that begins now is over, in seconds of `perf_counter`."""
    return perf_counter() + BUDGET


def overdue() -> bool:
    """Whether this round of the loop has lasted longer than a turn may, whoever used it up."""
    return time() - get_hub().loop.now() > BUDGET  # type: ignore[no-any-return]


class Scheduler:
    """When the loop calls back. What it calls runs in the loop itself and must not wait."""

    __slots__ = ("_calls", "_timer", "soon")

    def __init__(self) -> None:
        loop = get_hub().loop
        self.soon: Callable[..., Any] = loop.run_callback
        """Call before the loop looks at the sockets again."""
        self._timer = loop.timer(0.0)
        self._calls: deque[Callable[[], None]] = deque()

    @property
    def crowded(self) -> bool:
        """Whether calls wait for their turn."""
        return bool(self._calls)

    def later(self, call: Callable[[], None]) -> None:
        """Call after the loop has looked at the sockets, and after those who wait for a turn already.

        They share one turn in each round of the loop: however many there are, who has little to say waits for one.
        """
        self._calls.append(call)
        if not self._timer.active:
            self._timer.start(self._run)

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Call in so many seconds."""
        timer = get_hub().loop.timer(seconds)

        def run() -> None:
            timer.close()
            call()

        timer.start(run)

    def _run(self) -> None:
        calls, until = self._calls, end_of_turn()
        try:
            for _ in range(len(calls)):
                calls.popleft()()
                if perf_counter() > until:
                    break
        finally:  # one that raises does not take the others with it
            if calls and not self._timer.active:
                self._timer.start(self._run)

    def spawn(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call in a greenlet of its own, which may wait."""
        spawn_raw(function, *arguments)


def takes_a_line(stream: TextIO) -> bool:
    """Whether a write of one short line will not wait: POSIX says that a writable pipe has room for 512 bytes.

    A pipe that nobody reads would stop the process. The kernel is asked directly: gevent's own poll would switch.
    """
    poll = get_original("select", "poll")()
    poll.register(stream.fileno(), POLLOUT)
    return bool(poll.poll(0))


class Budget:
    """Measures one greenlet's turn: `spend()` pauses when the turn has lasted longer than `BUDGET`."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until = 0.0

    def start(self) -> None:
        """A turn begins: the greenlet has just been switched to."""
        self._until = end_of_turn()

    def spend(self) -> None:
        """Called between pieces of work."""
        if perf_counter() > self._until:
            pause()
            self._until = end_of_turn()
