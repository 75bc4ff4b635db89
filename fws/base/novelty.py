"""Which of many similar things deserve a line of the log: each once in a while, and not too many different ones."""

from __future__ import annotations

from collections.abc import Callable

# Seconds in which the same thing is news once; and how many different things are news in that time, since a client may
# have a say in what they are.
QUIET = 60.0
MOST = 20


class Novelty:
    """Remembers what was new lately.

    Args:
        clock: monotonic seconds.
    """

    __slots__ = ("_clock", "_seen")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[str, float] = {}

    def is_new(self, what: str) -> bool:
        """Return whether this was not seen for a minute, and remember it; False when too many things were new."""
        now = self._clock()
        if what in self._seen and now - self._seen[what] < QUIET:
            return False
        self._seen = {text: when for text, when in self._seen.items() if now - when < QUIET}
        if len(self._seen) >= MOST:
            return False
        self._seen[what] = now
        return True
