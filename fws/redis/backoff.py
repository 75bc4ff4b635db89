"""How long to wait before the next attempt to reach a Redis that is away."""

from __future__ import annotations

import random
from collections.abc import Callable

# Seconds. Once Redis is back everybody is within a second, and a node's one attempt a second is nothing to it.
FIRST = 0.05
MOST = 1.0


class Backoff:
    """Waits that double up to `MOST`, each spread over its upper half so that nodes do not come all at once.

    Args:
        spread: returns a number from 0 to 1, anew each time.
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
        """It was reached: the first attempt after it fails again comes at once."""
        self._attempts = 0

    def next(self) -> float:
        """Seconds until the next attempt."""
        attempts, self._attempts = self._attempts, self._attempts + 1
        if not attempts:
            return 0.0
        # Beyond this it has long been at its most, and the power must not grow for ever.
        longest: float = min(MOST, FIRST * 2 ** min(attempts, 16))
        return longest * (1 + self._spread()) / 2
