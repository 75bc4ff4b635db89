"""The waiting time before the next attempt at something that has just failed."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Waiting times that double up to `most`. Each is spread over its upper half, so that those who wait for the same
    thing do not all try at once.

    Args:
        first: the first waiting time in seconds, before it doubles. The first attempt after a success is made at once.
        most: the longest one in seconds.
        spread: returns a different number from 0 to 1 each time.
    """

    __slots__ = ("_attempts", "_first", "_most", "_spread")

    def __init__(self, first: float, most: float, spread: Callable[[], float] = random.random) -> None:
        self._first = first
        self._most = most
        self._attempts = 0
        self._spread = spread

    @property
    def waited(self) -> bool:
        """Whether more than one attempt was needed."""
        return self._attempts > 1

    def reset(self) -> None:
        """It has succeeded. If it fails again, the first attempt is made at once."""
        self._attempts = 0

    def next(self) -> float:
        """Seconds until the next attempt."""
        attempts, self._attempts = self._attempts, self._attempts + 1
        if not attempts:
            return 0.0
        # Beyond this the maximum has been reached, and the power must not grow without limit.
        longest: float = min(self._most, self._first * 2 ** min(attempts, 16))
        return longest * (1 + self._spread()) / 2
