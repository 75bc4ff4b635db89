"""Whether Redis is available, as the parts of a broker report it: for `/healthz`, and once per change for the log."""

from __future__ import annotations

import logging
from collections.abc import Callable

from fws.base.histogram import Histogram
from fws.base.metrics import Metrics

logger = logging.getLogger("fws.redis")

# The losses while Redis is away, by counter, in the words of the log line that says that it is back.
_LOSSES = {
    "redis_dropped": "dropped from the full buffer",
    "redis_refused": "refused",
    "redis_unconfirmed": "sent without an answer",
}


class Health:
    """Redis is available if all parts of the broker have reached it.

    Args:
        name: the address without its password.
        clock: monotonic seconds.

    Attributes:
        round_trips: how long Redis took to answer what was sent to it in one go.
    """

    __slots__ = ("_before", "_clock", "_ended", "_metrics", "_name", "_reached", "_reasons", "_since", "round_trips")

    def __init__(self, name: str, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._name = name
        self._metrics = metrics
        self._clock = clock
        self.round_trips = Histogram()
        self._reasons: dict[object, str] = {}
        self._reached = False
        self._ended = False
        self._since: float | None = None
        # The counters when it was last available, because losses are counted before an outage is noticed.
        self._before: dict[str, int] = {}

    @property
    def reason(self) -> str | None:
        """The reason why it is not available, with the address; None if it is."""
        why = next(iter(self._reasons.values()), None)
        return None if why is None else f"Redis {self._name}: {why}"

    def expect(self, part: object) -> None:
        """A part of the broker begins, and has not reached Redis yet."""
        self._reasons[part] = "not reached yet"

    def forget(self, part: object) -> None:
        """A part of the broker ends, and does not count any more."""
        self._reasons.pop(part, None)
        self._settle()

    def end(self) -> None:
        """This node is stopping. From now on, the log does not say that Redis is back, because the parts only end."""
        self._ended = True

    def unsent(self, count: int, size: int) -> None:
        """Log the publications for other nodes that were not sent at the end.

        Args:
            count: the number of publications.
            size: their size in bytes.
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
                "Redis %s is away: %s; clients of this node are served, and publications for other nodes wait",
                self._name,
                reason,
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
                # The gap may have begun long before the outage was noticed, and its size is unknown.
                lost += "; publications of other nodes in that time are missing here"
            logger.warning("Redis %s is back after %.1f s: %s", self._name, away, lost)
        elif not self._reached:
            logger.info("Redis %s is reached", self._name)
        self._reached = True
        self._before = self._metrics.all()
