"""The one thing about gevent's loop that a fair server must know."""

from __future__ import annotations

from time import perf_counter

from gevent import get_hub

# Longest work a greenlet does before it lets others run, in seconds. With two cores' worth of flooders and a bound
# of 100 ms on anyone's wait, a few milliseconds leave room for a dozen busy clients and cost under 1 % in switches.
BUDGET = 0.004


def pause() -> None:
    """Let every other greenlet and socket have its turn.

    `gevent.sleep(0)` would not: its callbacks run again before the sockets are polled, up to fifty times in a row.
    A timer of zero seconds fires after the poll.
    """
    hub = get_hub()
    hub.wait(hub.loop.timer(0.0))


class Budget:
    """Measures one greenlet's turn: `spend()` pauses when the turn has lasted longer than `BUDGET`."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until = 0.0

    def start(self) -> None:
        """A turn begins: the greenlet has just been switched to."""
        self._until = perf_counter() + BUDGET

    def spend(self) -> None:
        """Called between pieces of work."""
        if perf_counter() > self._until:
            pause()
            self._until = perf_counter() + BUDGET
