"""Exceptions of filters: each is counted, and logged once with pipeline, filter, client and traceback."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from gevent import GreenletExit
from gevent.exceptions import BlockingSwitchOutError

from fws.base.brief import message_of
from fws.base.errors import Close, FillError, MessageFillError, Refusal, Reject, StorageError
from fws.base.fault_book import FaultBook
from fws.base.log import escape
from fws.base.metrics import Metrics
from fws.base.novelty import Novelty
from fws.base.trace import fields, mark_of
from fws.pipeline.results import HookResultError
from fws.pipeline.traceback import culprit, stack_of, step_of
from fws.runtime.scheduler import Deadline

logger = logging.getLogger("fws.filters")


class Subject(Protocol):
    """The client that an exception concerns."""

    id: str

    def close(self, code: int, reason: str, /) -> None:
        """Begin the closing handshake."""


class Faults:
    """Handles the exceptions of filters.

    Attributes:
        book: those of the last hour.
    """

    __slots__ = ("_metrics", "_news", "_wall", "book")

    def __init__(
        self,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._metrics = metrics
        self._wall = wall
        self.book = FaultBook()
        # Failures of the storage that were logged lately. Every call fails until an operator mends it.
        self._news = Novelty(clock)

    def settle(self, event: str, error: BaseException, client: Subject | None = None, *, stops: bool = True) -> None:
        """End an event in which a filter raised. The client stays connected, and nothing flows on.

        `Close` ends the connection. Other exceptions are logged and counted.

        Args:
            client: the client; None if no client is concerned.
            stops: whether an exception that ends a greenlet is raised again. In the event loop nothing ends one, so
                that a filter which raises `GreenletExit` there is faulty.

        Raises:
            GreenletExit, Deadline: the greenlet is to end.
        """
        if isinstance(error, Close):
            if client is not None:
                client.close(error.code, error.reason)
        elif stops and isinstance(error, GreenletExit | Deadline):
            raise error
        else:
            self.report(event, error, client.id if client is not None else "")

    def refusal(self, error: BaseException, client: Subject, event: str = "connect") -> BaseException:
        """The refusal of a client for which a filter of `connect` or `subscribe` raised. Access fails closed.

        Returns:
            A Refusal: the filter's own, or one with a status that fits the exception. An exception that ends the
            greenlet is returned unchanged.
        """
        if isinstance(error, Refusal | GreenletExit | Deadline):
            return error
        if isinstance(error, Close):
            return Reject(403, error.reason)
        self.report(event, error, client.id)
        if isinstance(error, FillError):
            return Reject(403, "The request lacks something that this endpoint needs.")
        if isinstance(error, StorageError):
            return Reject(503, "Access cannot be decided now.", cause="unavailable")
        return Reject(500, "A filter failed.", cause="fault")

    def report(self, event: str, error: BaseException, client: str = "") -> None:
        """Log and count one exception.

        Args:
            event: the pipeline that was running, or `defer`, `start`, `stop`.
            client: the client's id; empty if no client is concerned.
        """
        extra: dict[str, Any] = {"client": client, "event": event, **fields(mark_of(error))}
        if isinstance(error, StorageError):
            self._metrics.count("storage_faults")
            self._remember(f"{event} {error}", event, str(error), client)
            quiet = error.logged or not self._news.is_new(f"{event} {error}")
            level = logging.DEBUG if quiet else logging.WARNING
            logger.log(level, "%s failed: %s", event, error, extra=extra)
            return
        if isinstance(error, MessageFillError):
            # A client has caused it, and may do so as often as it likes.
            self._metrics.count("messages_unfilled")
            logger.debug("%s for client %s: %s", event, client, error, extra=extra | {"cause": client})
            return
        self._metrics.count("filter_faults")
        subject = f" for client {client}" if client else ""
        if isinstance(error, FillError):
            # The client or the file is the cause of a placeholder without a value. It is not a bug with a traceback.
            self._remember(f"{event} {error}", event, str(error), client)
            logger.warning("%s%s: %s", event, subject, error, extra=extra)
            return
        # One line has the place in the filter and the calls from there. At the level `debug` the whole traceback
        # follows.
        where = error.where if isinstance(error, HookResultError) else culprit(error.__traceback__) or "a filter"
        name = type(error).__name__
        what = str(error) if isinstance(error, HookResultError) else f"{name}: {message_of(error)}"
        if isinstance(error, BlockingSwitchOutError):
            what = "it waits, though its filter promises `waits = False`"
        cause = f"{event} {where} {name}"
        self._remember(cause, event, what, client, where, error)
        extra |= {"error": error, "cause": cause}
        logger.error("%s failed in %s%s: %s", event, where, subject, what, extra=extra)

    def _remember(
        self, cause: str, event: str, what: str, client: str, where: str = "", error: BaseException | None = None
    ) -> None:
        """Write a fault into the book. Its stack is made only once, because a client may be able to cause any number.

        Args:
            error: where the stack is from; None for a fault that needs none.
        """
        now, shown = self._wall(), escape(what)
        if self.book.again(cause, shown, client, now):
            return
        step = None if error is None else step_of(error.__traceback__)
        self.book.add(
            cause,
            shown,
            client,
            now,
            event=event,
            where=where,
            stage="" if step is None else str(step.id),
            path=() if step is None else step.path,
            stack="" if error is None else stack_of(error.__traceback__),
        )
