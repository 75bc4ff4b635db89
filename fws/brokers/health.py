"""Whether Redis is there: what the parts of a broker know of it, told in `/healthz` and once per change in the log."""

from __future__ import annotations

import logging
from collections.abc import Callable

from fws.base.metrics import Metrics

logger = logging.getLogger("fws.redis")

# What this node may lose while Redis is away, by counter, in the words of the line that says that it is back.
_LOSSES = {
    "redis_dropped": "dropped from the full buffer",
    "redis_refused": "refused",
    "redis_unconfirmed": "sent without an answer",
}


class Health:
    """Up when all parts are.

    Args:
        name: the address without its password.
        clock: monotonic seconds.
    """

    __slots__ = ("_before", "_clock", "_ended", "_metrics", "_name", "_reached", "_reasons", "_since")

    def __init__(self, name: str, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._name = name
        self._metrics = metrics
        self._clock = clock
        self._reasons: dict[object, str] = {}
        self._reached = False
        self._ended = False
        self._since: float | None = None
        # The counters when it was last up: what is lost is counted before anybody knows that it is away.
        self._before: dict[str, int] = {}

    @property
    def reason(self) -> str | None:
        """Why it is not up, with the address; None when it is."""
        why = next(iter(self._reasons.values()), None)
        return None if why is None else f"Redis {self._name}: {why}"

    def expect(self, part: object) -> None:
        """A part begins, and has not reached Redis yet."""
        self._reasons[part] = "not reached yet"

    def forget(self, part: object) -> None:
        """A part ends: it is no longer asked."""
        self._reasons.pop(part, None)
        self._settle()

    def end(self) -> None:
        """This node is stopping. From now on nothing is said about Redis coming back: its parts end, and are not up."""
        self._ended = True

    def unsent(self, count: int, size: int) -> None:
        """Log what was left to send to other nodes at the end.

        Args:
            count: publications.
            size: their bytes.
        """
        if count:
            why = "" if self._since is None else f", because Redis {self._name} was away"
            logger.warning("%d publications (%d bytes) for other nodes were not sent%s", count, size, why)

    def down(self, part: object, reason: str) -> None:
        """A part does not reach Redis."""
        self._reasons[part] = reason
        if self._since is None:
            self._since = self._clock()
            self._metrics.count("redis_outages")
            logger.warning(
                "Redis %s is away: %s; clients here go on, what they publish for other nodes waits", self._name, reason
            )

    def up(self, part: object) -> None:
        """A part has reached it."""
        if self._reasons.pop(part, None) is not None:
            self._settle()

    def _settle(self) -> None:
        if self._reasons or self._ended:
            return
        if self._since is not None:
            away, self._since = self._clock() - self._since, None
            losses = {text: self._metrics[name] - self._before.get(name, 0) for name, text in _LOSSES.items()}
            lost = ", ".join(f"{count} {text}" for text, count in losses.items() if count) or "nothing lost from here"
            if self._metrics["redis_gaps"] > self._before.get("redis_gaps", 0):
                # It may have begun long before the outage was noticed, and nobody knows how much it was.
                lost += "; what other nodes published meanwhile is missing here"
            logger.warning("Redis %s is back after %.1f s: %s", self._name, away, lost)
        elif not self._reached:
            logger.info("Redis %s is reached", self._name)
        self._reached = True
        self._before = self._metrics.all()
