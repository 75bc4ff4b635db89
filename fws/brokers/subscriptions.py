"""Which Redis channels a node wants to hear, and what to tell Redis so that it does."""

from __future__ import annotations

from collections.abc import Callable, Iterable

# Seconds for which a channel is still heard after its last member has left: a page that is loaded anew, and a client
# that comes back, cost Redis nothing.
LINGER = 1.0


class Subscriptions:
    """Names that are wanted, and those that the present connection has been asked for.

    Nothing here waits, so "is this the first member?" and the change belong together without a lock: what Redis is
    told is computed later, as the difference between the two.

    Args:
        clock: monotonic seconds.
        always: names that are wanted from the beginning to the end.
    """

    __slots__ = ("_always", "_asked", "_clock", "_leaving", "_new", "_wanted")

    def __init__(self, clock: Callable[[], float], always: Iterable[bytes] = ()) -> None:
        self._clock = clock
        self._always = frozenset(always)
        self._wanted: dict[bytes, None] = dict.fromkeys(self._always)
        self._asked: set[bytes] = set()
        self._new: dict[bytes, None] = dict(self._wanted)
        # Names that nobody wants any more, with the time from which on they are given up, the soonest first.
        self._leaving: dict[bytes, float] = {}

    def __contains__(self, name: bytes) -> bool:
        """Whether it is wanted, or was until a moment ago."""
        return name in self._wanted or name in self._leaving

    def add(self, name: bytes) -> None:
        """Want a name."""
        self._wanted[name] = None
        self._leaving.pop(name, None)
        if name not in self._asked:
            self._new[name] = None

    def discard(self, name: bytes) -> None:
        """Want it no more, in a while."""
        if name in self._wanted and name not in self._always:
            del self._wanted[name]
            self._leaving[name] = self._clock() + LINGER

    def forget(self, name: bytes) -> None:
        """Want it no more, at once, and tell nobody: it is no longer heard here."""
        self._wanted.pop(name, None)
        self._leaving.pop(name, None)
        self._asked.discard(name)

    def lost(self, name: bytes) -> None:
        """Redis has ended this subscription by itself."""
        self._asked.discard(name)
        if name in self._wanted:
            self._new[name] = None

    def renew(self) -> None:
        """There is a new connection, which has been asked for nothing."""
        self._asked.clear()
        self._leaving.clear()
        self._new = dict(self._wanted)

    def changes(self) -> tuple[list[bytes], list[bytes]]:
        """What to subscribe and what to unsubscribe now. It counts as done."""
        new, self._new = [name for name in self._new if name in self._wanted], {}
        self._asked.update(new)
        gone = []
        now = self._clock()
        for name, when in list(self._leaving.items()):
            if when > now:
                break
            del self._leaving[name]
            if name in self._asked:
                self._asked.remove(name)
                gone.append(name)
        return new, gone

    def wait(self) -> float | None:
        """Seconds until there are changes; None when there is nothing to wait for."""
        if self._new:
            return 0.0
        return next((max(0.0, when - self._clock()) for when in self._leaving.values()), None)
