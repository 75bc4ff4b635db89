"""Turns in gevent's event loop, so that clients are served fairly."""

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

# The length of a turn in seconds, after which others are served. If nobody may wait for more than 100 ms, a few
# milliseconds leave room for a dozen busy clients, and cost less than 1 % in switches.
BUDGET = 0.004


class Deadline(Timeout):
    """The server's own time limit for a handshake or a response. A class of its own distinguishes it from time-outs of
    filters.
    """


def pause() -> None:
    """Give every other greenlet and socket a turn.

    `gevent.sleep(0)` does not do this: its callbacks run again before the sockets are polled, up to fifty times in a
    row. A timer of zero seconds fires after the poll.
    """
    hub = get_hub()
    hub.wait(hub.loop.timer(0.0))


def queue_up(later: Callable[[Callable[[], None]], None]) -> None:
    """Wait for a turn of `Scheduler.later`. Called in a greenlet."""
    waiter = Waiter()
    later(partial(waiter.switch, None))
    waiter.get()


def end_of_turn() -> float:
    """The end of a turn that begins now, in seconds of `perf_counter`."""
    return perf_counter() + BUDGET


def overdue() -> bool:
    """Whether this round of the event loop has already lasted longer than a turn."""
    return time() - get_hub().loop.now() > BUDGET  # type: ignore[no-any-return]


class Scheduler:
    """Calls in the event loop. The called functions must not block."""

    __slots__ = ("_calls", "_timer", "soon")

    def __init__(self) -> None:
        loop = get_hub().loop
        self.soon: Callable[..., Any] = loop.run_callback
        """Call before the event loop polls the sockets again."""
        self._timer = loop.timer(0.0)
        self._calls: deque[Callable[[], None]] = deque()

    @property
    def crowded(self) -> bool:
        """Whether calls wait for their turn."""
        return bool(self._calls)

    def later(self, call: Callable[[], None]) -> None:
        """Call after the event loop has polled the sockets, and after the calls that wait already.

        All of them share one turn per round of the loop, so that a client that sends little waits for one turn at most.
        """
        self._calls.append(call)
        if not self._timer.active:
            self._timer.start(self._run)

    def after(self, seconds: float, call: Callable[[], object]) -> Callable[[], None]:
        """Call after this many seconds. Returns a function that cancels the call."""
        timer = get_hub().loop.timer(seconds)

        def run() -> None:
            timer.close()
            call()

        timer.start(run)
        return timer.close  # type: ignore[no-any-return]

    def _run(self) -> None:
        calls, until = self._calls, end_of_turn()
        try:
            for _ in range(len(calls)):
                calls.popleft()()
                if perf_counter() > until:
                    break
        finally:  # an exception of one call does not affect the others
            if calls and not self._timer.active:
                self._timer.start(self._run)

    def spawn(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call in a new greenlet, which may block."""
        spawn_raw(function, *arguments)


def takes_a_line(stream: TextIO) -> bool:
    """Whether writing a short line does not block. POSIX guarantees that a writable pipe has room for 512 bytes.

    A pipe that nobody reads would block the process. The kernel is asked directly, because gevent's poll would switch.
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
