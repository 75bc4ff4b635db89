"""A circuit breaker: a service that fails is not asked for a while."""

from __future__ import annotations

from collections.abc import Callable


class Breaker:
    """After `failures` in a row, requests are suspended for `pause` seconds. Then one request tries the service again.

    Args:
        clock: monotonic seconds.
    """

    __slots__ = ("_clock", "_failures", "_in_a_row", "_pause", "_until")

    def __init__(self, failures: int, pause: float, clock: Callable[[], float]) -> None:
        self._failures = failures
        self._pause = pause
        self._clock = clock
        self._in_a_row = 0
        self._until = 0.0

    def allows(self) -> bool:
        """Whether to ask the service. After asking, the caller calls `succeeded` or `failed`."""
        if self._in_a_row < self._failures:
            return True
        now = self._clock()
        if now < self._until:
            return False
        self._until = now + self._pause  # this request tries it, and others wait for the result
        return True

    def succeeded(self) -> None:
        self._in_a_row = 0

    def failed(self) -> None:
        self._in_a_row += 1
        self._until = self._clock() + self._pause
