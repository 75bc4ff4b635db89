"""The waiting time before the next attempt to reach a Redis that is away."""

from __future__ import annotations

import random
from collections.abc import Callable

# Seconds. When Redis is back, all nodes reconnect within a second, and one attempt per second and node is no load.
FIRST = 0.05
MOST = 1.0


class Backoff:
    """Waiting times that double up to `MOST`. Each is spread over its upper half, so that nodes do not reconnect all at
    once.

    Args:
        spread: returns a different number from 0 to 1 each time.
    """

    __slots__ = ("_attempts", "_spread")

    def __init__(self, spread: Callable[[], float] = random.random) -> None:
        self._attempts = 0
        self._spread = spread

    @property
    def waited(self) -> bool:
        """Whether more than one attempt was needed."""
        return self._attempts > 1

    def reset(self) -> None:
        """Redis was reached. If it fails again, the first attempt is made at once."""
        self._attempts = 0

    def next(self) -> float:
        """Seconds until the next attempt."""
        attempts, self._attempts = self._attempts, self._attempts + 1
        if not attempts:
            return 0.0
        # Beyond this the maximum has been reached, and the power must not grow without limit.
        longest: float = min(MOST, FIRST * 2 ** min(attempts, 16))
        return longest * (1 + self._spread()) / 2
