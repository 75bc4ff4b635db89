"""How long to wait before the next attempt to reach a Redis that is away."""

from __future__ import annotations

import random
from collections.abc import Callable

# Seconds. Redis counts as back 5 s after it is, so nobody sleeps for much longer than a third of that.
FIRST = 0.05
MOST = 2.0


class Backoff:
    """Waits that double up to `MOST`, each spread over its upper half so that nodes do not come all at once.

    Args:
        spread: returns a number from 0 to 1, anew each time.
    """

    __slots__ = ("_attempts", "_spread")

    def __init__(self, spread: Callable[[], float] = random.random) -> None:
        self._attempts = 0
        self._spread = spread

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
