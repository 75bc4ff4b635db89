"""Decides which of many similar events get a line in the log: each one once in a while, and not too many different
ones.
"""

from __future__ import annotations

from collections.abc import Callable

# Seconds in which an event is new once, and the most different events that are new in that time. There is a limit
# because a client may be able to make each event different.
QUIET = 60.0
MOST = 20


class Novelty:
    """Remembers which events were new lately.

    Args:
        clock: monotonic seconds.
    """

    __slots__ = ("_clock", "_seen")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[str, float] = {}

    def is_new(self, what: str) -> bool:
        """Return whether this event was not seen for a minute, and remember it. False if too many events were new."""
        now = self._clock()
        if what in self._seen and now - self._seen[what] < QUIET:
            return False
        self._seen = {text: when for text, when in self._seen.items() if now - when < QUIET}
        if len(self._seen) >= MOST:
            return False
        self._seen[what] = now
        return True
