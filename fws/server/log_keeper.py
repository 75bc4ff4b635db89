"""What is written to the log at regular times: repetitions that were folded, and what was counted."""

from __future__ import annotations

import logging

import gevent

from fws.base.log import FoldingHandler
from fws.base.metrics import Metrics
from fws.pipeline.traceback import CLIENT

logger = logging.getLogger("fws")

# Seconds between two log lines with counters.
COUNTED = 60.0


class LogKeeper:
    """Looks after the log of one process.

    Args:
        log: None if something else writes the log.
    """

    def __init__(self, log: FoldingHandler | None, metrics: Metrics) -> None:
        self._log = log
        self._metrics = metrics

    def write_past(self, line: str) -> None:
        """Write a warning while the event loop is blocked. Called in any thread."""
        if self._log is not None:
            self._log.write_past(logging.WARNING, logger.name, line, line.partition(CLIENT)[2])

    def write_counters(self) -> None:
        """Write what was counted since the last time."""
        news = self._metrics.news()
        if news:
            logger.info("counted: %s", news)

    def flush(self) -> None:
        """Write everything that is left."""
        if self._log is not None:
            self._log.flush()

    def settle(self) -> None:
        """Write folded lines, in a greenlet of its own until that is killed."""
        while self._log is not None:
            gevent.sleep(1)
            self._log.settle()

    def count(self) -> None:
        """Write counters every minute, in a greenlet of its own until that is killed."""
        while True:
            gevent.sleep(COUNTED)
            self.write_counters()
