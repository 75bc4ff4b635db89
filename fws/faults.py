"""Faults of filters: logged once each, with pipeline, filter, client and traceback, and counted."""

from __future__ import annotations

import logging

from gevent.exceptions import BlockingSwitchOutError

from fws.errors import FillError, StorageError
from fws.metrics import Metrics
from fws.pipeline import culprit

logger = logging.getLogger("fws.filters")


class Faults:
    """Where whatever a filter raises ends up, unless it is `Close`, `Reject` or a wish to stop the greenlet."""

    __slots__ = ("_metrics",)

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def report(self, event: str, error: BaseException, client: str = "") -> None:
        """Log and count one fault.

        Args:
            event: the pipeline that was running, or `defer`, `start`, `stop`.
            client: its id; empty where no client is concerned.
        """
        if isinstance(error, StorageError):
            self._metrics.count("storage_faults")
            logger.log(logging.DEBUG if error.told else logging.WARNING, "%s failed: %s", event, error)
            return
        self._metrics.count("filter_faults")
        subject = f" for client {client}" if client else ""
        if isinstance(error, FillError):
            # A placeholder without a value is the client's doing or the file's, not a bug with a traceback.
            logger.warning("%s%s: %s", event, subject, error)
            return
        # The place in the filter and the calls from there are the traceback in one line; at the level `debug`
        # all of it follows.
        where = culprit(error.__traceback__) or "a filter"
        name = type(error).__name__
        what = f"{name}: {error}"
        if isinstance(error, BlockingSwitchOutError):
            what = "it waits, though its filter promises `waits = False`"
        extra = {"error": error, "cause": f"{event} {where} {name}"}
        logger.error("%s failed in %s%s: %s", event, where, subject, what, extra=extra)
