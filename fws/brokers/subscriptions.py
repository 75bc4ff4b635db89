"""The Redis channels that a node wants to receive, and the changes to send to Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterable

# Seconds for which a channel stays subscribed after its last member has left, so that reloading a page or reconnecting
# does not change the subscriptions.
LINGER = 1.0


class Subscriptions:
    """The wanted names, and those that the present connection has subscribed to.

    Nothing here blocks, so that the check for the first member and the change are atomic without a lock. The commands
    for Redis are computed later, as the difference between the two.

    Args:
        clock: monotonic seconds.
        always: names that are always wanted.
    """

    __slots__ = ("_always", "_asked", "_clock", "_leaving", "_new", "_wanted")

    def __init__(self, clock: Callable[[], float], always: Iterable[bytes] = ()) -> None:
        self._clock = clock
        self._always = frozenset(always)
        self._wanted: dict[bytes, None] = dict.fromkeys(self._always)
        self._asked: set[bytes] = set()
        self._new: dict[bytes, None] = dict(self._wanted)
        # Names that are not wanted any more, with the time at which they are unsubscribed, the earliest first.
        self._leaving: dict[bytes, float] = {}

    def __contains__(self, name: bytes) -> bool:
        """Whether the name is wanted, or was until a moment ago."""
        return name in self._wanted or name in self._leaving

    def add(self, name: bytes) -> None:
        """Want a name."""
        self._wanted[name] = None
        self._leaving.pop(name, None)
        if name not in self._asked:
            self._new[name] = None

    def discard(self, name: bytes) -> None:
        """The name is not wanted any more. It is unsubscribed after a while."""
        if name in self._wanted and name not in self._always:
            del self._wanted[name]
            self._leaving[name] = self._clock() + LINGER

    def forget(self, name: bytes) -> None:
        """Remove the name at once and without a command, because it is received elsewhere now."""
        self._wanted.pop(name, None)
        self._leaving.pop(name, None)
        self._asked.discard(name)

    def lost(self, name: bytes) -> None:
        """Redis has ended this subscription by itself."""
        self._asked.discard(name)
        if name in self._wanted:
            self._new[name] = None

    def renew(self) -> None:
        """There is a new connection without subscriptions."""
        self._asked.clear()
        self._leaving.clear()
        self._new = dict(self._wanted)

    def changes(self) -> tuple[list[bytes], list[bytes]]:
        """The names to subscribe to and to unsubscribe from now. They count as done."""
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
        """Seconds until there are changes; None if there is nothing to wait for."""
        if self._new:
            return 0.0
        return next((max(0.0, when - self._clock()) for when in self._leaving.values()), None)
