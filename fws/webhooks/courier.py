"""The courier: sends the events of one queue to one service, in greenlets, and tells how it goes."""

from __future__ import annotations

import logging
import random
import re
import secrets
from collections.abc import Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import NamedTuple

import gevent

from fws.base.breaker import Breaker
from fws.base.novelty import Novelty
from fws.base.trace import traceparent
from fws.http.error import HttpError
from fws.http.service import Service
from fws.http.signature import signed
from fws.http.url import Url
from fws.pipeline.services import Services
from fws.webhooks.event import Data, event_json, request_of
from fws.webhooks.keeper import Keeper
from fws.webhooks.queue import Entry, Queue, Request, Terms

logger = logging.getLogger("fws.webhooks")

# Failures in a row after which the service is left alone, and for how many seconds. Then one request tries it.
FAILURES = 5
PAUSE = 10.0
# Seconds until the courier looks again whether the pause is over.
AGAIN = 1.0
# The most seconds for which a service may postpone the next request.
LONGEST_PAUSE = 600.0
# Statuses of answers after which a request is repeated, besides those from 500.
REPEATED = {408, 425, 429}
# Seconds at the end, for what is under way and what can still be sent, and for what is written to Redis.
LAST = 0.3
LAST_WRITE = 0.3


class Settings(NamedTuple):
    """What a courier is told when it begins.

    Attributes:
        url: where the events go.
        service: sends the requests to it.
        at_once: the most requests under way.
        keys: the keys of the signatures; more than one while keys are being replaced.
        terms: how events are sent.
    """

    url: Url
    service: Service
    at_once: int
    keys: Sequence[bytes]
    terms: Terms


class Courier:
    """Delivers events, and makes nobody wait.

    An event is in memory until it is delivered, or given up after `tries` or `age`. Without Redis it is lost with the
    process: it is delivered at most once, except that a request is repeated if its answer did not arrive. With Redis it
    is delivered at least once, from the moment that it is in the stream, unless it is given up.
    """

    def __init__(self, services: Services, settings: Settings) -> None:
        self._services = services
        self._settings = settings
        self._queue = Queue(settings.terms, self._given_up, random.random)
        self._breaker = Breaker(FAILURES, PAUSE, services.clock)
        self._novelty = Novelty(services.clock)
        self._prefix = secrets.token_urlsafe(9)
        self._number = 0
        self._under_way = 0
        self._wakes_at: float | None = None
        # Why the service fails, and whether the log says so.
        self._reason = ""
        self._told = False
        self._stopped = False
        self._heir: Courier | None = None
        self._keeper: Keeper | None = None

    def __len__(self) -> int:
        """The number of events that are not settled."""
        return len(self._queue)

    def __str__(self) -> str:
        """The service as it is shown in the log, without the query, which may contain secrets."""
        return str(self._settings.url).partition("?")[0]

    def start(self) -> None:
        """Keep events in Redis, if there is one, and deliver those that earlier processes have left there."""
        services, terms = self._services, self._settings.terms
        if services.journal is not None:
            self._keeper = Keeper(
                services,
                services.journal,
                destination_of(self._settings.url),
                age=terms.age,
                most=terms.most,
                # Half of the queue is for what happens now.
                room=lambda: max(1, terms.most // 2) - len(self._queue),
                accept=self._accept,
            )
            self._keeper.start()

    def post(self, hook: str, data: Data, lane: str) -> None:
        """Deliver an event. Never blocks.

        If too many events wait, or it cannot be written as JSON, it is dropped and counted.
        """
        services = self._services
        at = services.wall()
        self._number += 1
        id = f"{self._prefix}-{self._number}"
        try:
            body = event_json(id, hook, at, data)
        except (TypeError, ValueError, RecursionError, OverflowError) as error:
            self._drop(f"JSON cannot express them: {error}")
            return
        entry = Entry(id, lane, body, services.clock(), at, traceparent())
        if not self._queue.add(entry):
            self._drop(f"{len(self._queue)} wait already, with {self._queue.size} bytes")
            return
        if self._keeper is not None:
            self._keeper.keep(entry)
        if self._under_way < self._settings.at_once:
            self._look()

    def stop(self, heir: Courier | None = None) -> None:
        """Send what can be sent within a moment. Leave the rest to the heir, or in Redis, or give it up.

        Blocks for `LAST` seconds at most, and with Redis for twice `LAST_WRITE` more.

        Args:
            heir: the courier of the same stage after a reload.
        """
        self._queue.hurry = True
        self._look()
        with gevent.Timeout(LAST, False):
            # With Redis, nothing is lost if a service that fails anyway is not waited for, and several may be stopped.
            while self._under_way and not (self._reason and self._keeper is not None):
                gevent.sleep(0.005)
        self._stopped = True
        self._heir = heir
        if heir is not None:
            self._bequeath(self._queue.drain(), heir)
        lost = len(self._queue)
        if self._keeper is not None:
            lost, kept = self._keeper.stop(LAST_WRITE), lost
            if kept > lost:
                logger.info("%d events for %s wait in Redis", kept - lost, self)
        if lost and heir is None:
            self._services.metrics.count("webhooks_dropped", lost)
            logger.warning("%d events for %s are lost with the process", lost, self)
        self._settings.service.close()

    def _bequeath(self, entries: Sequence[Entry], heir: Courier) -> None:
        """Let another courier deliver events. They stay in this one's log until they are in the other's."""
        heir.take_over([Entry(one.id, one.lane, one.body, one.since, one.at, one.trace) for one in entries])
        if self._keeper is not None and heir._keeper is not None and heir._keeper.flush(LAST_WRITE):
            self._keeper.settled(entries)

    def take_over(self, entries: Sequence[Entry]) -> None:
        """Deliver the events of another courier, before those that wait here. Never blocks."""
        self._queue.restore(entries)
        if self._keeper is not None:
            for entry in entries:
                self._keeper.keep(entry)
        self._look()

    def _accept(self, entry: Entry) -> bool:
        """Deliver an event that another process has left. Returns False if there is no room for it."""
        accepted = self._queue.add(entry)
        if not accepted and not len(self._queue):
            # The bound was reduced meanwhile, and the event alone exceeds it. It would never find more room than now.
            self._queue.restore([entry])
            accepted = True
        if accepted and self._under_way < self._settings.at_once:
            self._look()
        return accepted

    # Sending.

    def _look(self) -> None:
        """Begin to send what is due. If nothing is, look again when something will be."""
        if self._stopped:
            return
        while self._under_way < self._settings.at_once and (request := self._next()) is not None:
            self._under_way += 1
            self._services.spawn(self._send, request)
        if self._under_way < self._settings.at_once:
            now = self._services.clock()
            at = self._queue.next_at(now)
            # If something is due and not sent, the service is being left alone.
            if at is not None:
                self._wake_at(now, at if at > now else now + AGAIN)

    def _next(self) -> Request | None:
        now = self._services.clock()
        at = self._queue.next_at(now)
        while at is not None and at <= now and self._breaker.allows():
            request = self._queue.take(now)
            if request is not None:
                return request
            at = self._queue.next_at(now)  # events were given up because of their age
        return None

    def _wake_at(self, now: float, at: float) -> None:
        if self._wakes_at is None or at < self._wakes_at:
            self._wakes_at = at
            self._services.after(at - now, self._woken)

    def _woken(self) -> None:
        self._wakes_at = None
        self._look()

    def _send(self, first: Request) -> None:
        request: Request | None = first
        try:
            while request is not None:
                try:
                    self._attempt(request)
                except Exception as error:  # a fault of ours must not stop the lane for ever
                    self._services.report("webhook", error, "")
                    self._failed(request, type(error).__name__, heard=False)
                request = None if self._stopped else self._next()
        finally:
            self._under_way -= 1
            self._look()

    def _attempt(self, request: Request) -> None:
        """Send a request once, and settle it or arrange its repetition."""
        settings = self._settings
        id, body = request_of(request.entries, batches=settings.terms.batch > 1)
        wall = self._services.wall()
        headers = {"content-type": "application/json", "webhook-id": id, "webhook-timestamp": str(int(wall))}
        if len(request.entries) == 1 and request.entries[0].trace:
            headers["traceparent"] = request.entries[0].trace
        if settings.keys:
            each = [signed(key, id, wall, body) for key in settings.keys]
            headers |= each[0] | {"webhook-signature": " ".join(one["webhook-signature"] for one in each)}
        try:
            status, answered, _ = settings.service.ask("POST", headers, body)
        except HttpError as error:
            if not error.status:
                self._failed(request, str(error), heard=False)
                return
            status, answered = error.status, {}  # nobody needs the body
        if 200 <= status < 300:
            self._delivered(request)
        elif status in REPEATED or status >= 500:
            rest = retry_after(answered.get("retry-after", ""), wall)
            if rest:
                self._queue.pause(self._services.clock() + rest)
            self._failed(request, f"status {status}", heard=status < 500, at_least=rest)
        else:
            self._breaker.succeeded()
            if self._novelty.is_new(f"refused {status}"):
                logger.warning("the service at %s refuses events, which are given up: status %d", self, status)
            self._queue.give_up(request)

    def _delivered(self, request: Request) -> None:
        self._breaker.succeeded()
        if self._told:
            logger.warning("the service at %s takes events again", self)
        self._reason, self._told = "", False
        self._queue.delivered(request)
        self._services.metrics.count("webhooks_delivered", len(request.entries))
        if self._keeper is not None:
            self._keeper.settled(request.entries)

    def _failed(self, request: Request, reason: str, *, heard: bool, at_least: float = 0.0) -> None:
        if heard:
            self._breaker.succeeded()
        else:
            self._breaker.failed()
        self._warn(reason)
        if not self._queue.failed(request, self._services.clock(), at_least):
            return
        if self._heir is not None:
            self._bequeath(self._queue.drain(), self._heir)
        else:
            self._services.metrics.count("webhooks_retried", len(request.entries))

    def _warn(self, reason: str) -> None:
        """Log that the service fails: once, until the reason changes, and each reason at most once a minute."""
        if reason != self._reason and self._novelty.is_new(reason):
            logger.warning("the service at %s does not take events: %s", self, reason)
            self._told = True
        self._reason = reason

    def _given_up(self, entry: Entry) -> None:
        self._services.metrics.count("webhooks_failed")
        if self._keeper is not None:
            self._keeper.settled([entry])

    def _drop(self, reason: str) -> None:
        self._services.metrics.count("webhooks_dropped")
        if self._novelty.is_new("dropped"):
            logger.warning("events for %s are dropped: %s", self, reason)


def destination_of(url: Url) -> str:
    """Identifies the service to other processes. The URL may contain secrets, and is not shown."""
    return sha256(str(url).encode()).hexdigest()[:16]


def retry_after(text: str, now: float) -> float:
    """The seconds in a `Retry-After` header, which has a number or a date: 0 if it has neither.

    Args:
        now: Unix time.
    """
    if re.fullmatch("[0-9]{1,9}", text):
        seconds = float(text)
    else:
        try:
            when = parsedate_to_datetime(text)
        except ValueError:
            return 0.0
        seconds = when.replace(tzinfo=when.tzinfo or UTC).timestamp() - now
    return min(max(seconds, 0.0), LONGEST_PAUSE)
