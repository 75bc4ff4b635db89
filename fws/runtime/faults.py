"""Faults of filters: logged once each, with pipeline, filter, client and traceback, and counted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from gevent.exceptions import BlockingSwitchOutError

from fws.base.errors import FillError, StorageError
from fws.base.metrics import Metrics
from fws.base.novelty import Novelty
from fws.pipeline.results import HookResultError
from fws.pipeline.traceback import culprit

logger = logging.getLogger("fws.filters")


class Faults:
    """Where whatever a filter raises ends up, unless it is `Close`, `Reject` or a wish to stop the greenlet."""

    __slots__ = ("_metrics", "_news")

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        # What the storage fails at: nothing but an operator mends it, and every call fails until then.
        self._news = Novelty(clock)

    def report(self, event: str, error: BaseException, client: str = "") -> None:
        """Log and count one fault.

        Args:
            event: the pipeline that was running, or `defer`, `start`, `stop`.
            client: its id; empty where no client is concerned.
        """
        if isinstance(error, StorageError):
            self._metrics.count("storage_faults")
            quiet = error.told or not self._news.is_new(f"{event} {error}")
            logger.log(logging.DEBUG if quiet else logging.WARNING, "%s failed: %s", event, error)
            return
        self._metrics.count("filter_faults")
        subject = f" for client {client}" if client else ""
        if isinstance(error, FillError):
            # A placeholder without a value is the client's doing or the file's, not a bug with a traceback.
            logger.warning("%s%s: %s", event, subject, error)
            return
        # The place in the filter and the calls from there are the traceback in one line; at the level `debug`
        # all of it follows.
        where = error.where if isinstance(error, HookResultError) else culprit(error.__traceback__) or "a filter"
        name = type(error).__name__
        what = str(error) if isinstance(error, HookResultError) else f"{name}: {error}"
        if isinstance(error, BlockingSwitchOutError):
            what = "it waits, though its filter promises `waits = False`"
        extra = {"error": error, "cause": f"{event} {where} {name}"}
        logger.error("%s failed in %s%s: %s", event, where, subject, what, extra=extra)
