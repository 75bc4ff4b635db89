"""The sender: the greenlet that writes what waits to Redis, in pipelined writes, and reads the answers."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from typing import Any

import gevent
from gevent.event import Event

from fws.base.novelty import Novelty
from fws.brokers.buffer import Buffer, drop
from fws.brokers.carrier import Settings
from fws.brokers.items import Item, Session, commands_of
from fws.redis.backoff import MOST, Backoff
from fws.redis.connector import REPLY, ConnectorError, Stream, error_text
from fws.redis.resp import Failure, Replies, RespError

logger = logging.getLogger("fws.redis")

_RUN_ID = re.compile(rb"run_id:([0-9a-f]+)")
# Codes of errors that may be gone at the next attempt.
_TRANSIENT = ("LOADING", "READONLY", "MASTERDOWN", "BUSY", "OOM", "MISCONF", "NOREPLICAS", "NOSCRIPT", "max number")
# The bytes of one write. Only one write is under way, so that at most this much is lost if Redis fails. It is small
# enough to take less than 2 s.
BATCH = 256 * 1024
# While Redis answers, more may wait than during an outage, because a burst is sent soon.
BURST = 16 * 1024 * 1024
# Seconds between the return of Redis and the first message. By then the relays of all nodes have subscribed again, so
# that messages that waited are not lost.
SETTLE = MOST + 0.5
# Seconds between two checks of a connection that has nothing to send.
CHECK = 3.0


class Sender:
    """Sends to one Redis. What has been written is not written again, unless the item says that it may be.

    Args:
        connect: returns a stream that is logged in. Raises ConnectorError.
        word: `PUBLISH`, or `SPUBLISH` in a Cluster.
        moved: called with items that this Redis refuses because another one serves the channel.
    """

    def __init__(
        self,
        connect: Callable[[], Stream],
        word: bytes,
        settings: Settings,
        moved: Callable[[list[Item]], None] | None = None,
    ) -> None:
        self._connect = connect
        self._word = word
        self._most = settings.buffer
        self._health = settings.health
        self._metrics = settings.metrics
        self._clock = settings.clock
        self._moved = moved
        self._scripts = settings.scripts
        # Whether the present Redis knows the scripts.
        self._prepared = False
        self._longest = max(BATCH, settings.largest + 4096)
        self._refusals = Novelty(self._clock)
        self._buffer = Buffer(self._most)
        self._backoff = Backoff()
        self._wake = Event()
        # Set while nothing waits or is under way.
        self._idle = Event()
        self._idle.set()
        self._stream: Stream | None = None
        self._leaving = False
        self._greenlet: gevent.Greenlet | None = None

    @property
    def waiting(self) -> int:
        """The bytes that wait to be sent."""
        return self._buffer.size

    def start(self) -> None:
        self._health.expect(self)
        self._greenlet = gevent.spawn(self._run)

    def send(self, item: Item) -> None:
        """Send an item soon. Never blocks."""
        self._idle.clear()
        self._drop(self._buffer.append(item))
        self._wake.set()

    def _drop(self, items: Sequence[Item]) -> None:
        if items:
            self._metrics.count("redis_dropped", drop(items))

    def leave(self, place: tuple[str, int] | None = None) -> None:
        """Reconnect, unless the connection is to this place already. A write under way is finished first."""
        if self._stream is not None and self._stream.place != place:
            self._leaving = True
            self._wake.set()

    def flush(self, timeout: float) -> None:
        """Block until everything has been sent, for at most `timeout` seconds."""
        self._idle.wait(timeout)

    def stop(self) -> list[Item]:
        """End at once. Returns the items that were not sent."""
        if self._greenlet is not None:
            self._greenlet.kill(block=False)
        self._health.forget(self)
        return self._buffer.take(BURST * 2)

    def _run(self) -> None:
        while True:
            gevent.sleep(self._backoff.next())
            try:
                self._stream = stream = self._connect()
                self._leaving = False
                try:
                    self._serve(stream)
                finally:
                    self._stream = None
                    stream.close()
            except (ConnectorError, RespError) as error:
                self._health.down(self, str(error))
                self._drop(self._buffer.bound(self._most))
                for item in self._buffer:
                    item.delayed()

    def _serve(self, stream: Stream) -> None:
        replies = Replies(self._longest)
        # It is better to notice a dead connection before something is written to it.
        stream.ask(b"PING")
        if self._backoff.waited:
            gevent.sleep(SETTLE)
            stream.ask(b"PING")
        self._session = Session(self._word, b"")
        self._prepared = False
        # A Redis that answers a ping may still refuse to publish. It is available if it has accepted a publication.
        if items := self._buffer.take(1):
            self._write(stream, replies, items)
        self._backoff.reset()
        self._buffer.bound(BURST)
        self._health.up(self)
        while True:
            items = [] if self._leaving else self._buffer.take(BATCH)
            if items:
                self._write(stream, replies, items)
                continue
            self._idle.set()
            self._wake.clear()
            if self._leaving:
                raise ConnectorError("another one has taken its place")
            # The end of the stream is noticed even if there is nothing to send, because later writes would be lost.
            stop = stream.when_readable(self._wake.set)
            try:
                self._wake.wait(CHECK)
            finally:
                stop()
            if not self._buffer:
                began = self._clock()
                stream.ask(b"PING")
                self._health.round_trips.observe(self._clock() - began)

    def _prepare(self, stream: Stream) -> None:
        """Load the scripts, and ask what identifies the process of this Redis.

        Only before an item uses a script, because a Redis user may not be allowed to load any.
        """
        for script in self._scripts:
            stream.ask(b"SCRIPT", b"LOAD", script)
        try:
            found = _RUN_ID.search(stream.ask(b"INFO", b"server"))
        except ConnectorError as error:
            if "NOPERM" not in str(error):
                raise
            found = None
        self._session = Session(self._word, found[1] if found is not None else b"")
        self._prepared = True

    def _write(self, stream: Stream, replies: Replies, items: list[Item]) -> None:
        """Write some items in one go, and read the answers."""
        if not self._prepared and any(item.scripted for item in items):
            try:
                self._prepare(stream)
            except ConnectorError:
                self._drop(self._buffer.put_back(items))
                raise
        batch = commands_of(items, self._session)
        answered = 0
        again: list[Item] = []
        moved: list[Item] = []
        failure = None
        done: list[tuple[list[Item], Any]] = []
        try:
            began = self._clock()
            stream.send(b"".join([command for command, _ in batch]))
            until = self._clock() + REPLY
            while answered < len(batch):
                left = until - self._clock()
                if left <= 0:
                    raise ConnectorError("it does not answer")
                for reply in replies.feed(stream.receive(left)):
                    group = batch[answered][1]
                    answered += 1
                    if not isinstance(reply, Failure):
                        done.append((group, reply))
                        continue
                    for item in group:
                        item.refused()
                    if self._moved is not None and reply.code in ("MOVED", "ASK", "CLUSTERDOWN", "TRYAGAIN"):
                        moved += group
                    elif reply.code == "NOSCRIPT":
                        # Somebody has emptied Redis's cache of scripts.
                        self._prepared = False
                        again += group
                    elif _is_final(reply):
                        # A retry would always be refused, such as a channel that the Redis user may not publish to.
                        self._refuse(group, reply)
                    else:
                        failure = reply
                        again += group
            self._health.round_trips.observe(self._clock() - began)
        finally:
            # It is unknown whether commands without an answer were executed. Sending them again could publish them
            # twice.
            unanswered = [item for _, group in batch[answered:] for item in group]
            # Before those that were refused: these have higher numbers now, and Redis would take the others for sent.
            again = [item for item in unanswered if item.repeatable] + again
            lost = [item for item in unanswered if not item.repeatable]
            self._metrics.count("redis_unconfirmed", drop(lost))
            self._metrics.count("redis_published", sum(item.publications for group, _ in done for item in group))
            if again:
                self._drop(self._buffer.put_back(again))
            if moved and self._moved is not None:
                self._moved(moved)
            for group, reply in done:
                for item in group:
                    self._tell(item, reply)
        if failure is not None:
            raise ConnectorError(error_text(failure))

    def _tell(self, item: Item, reply: Any) -> None:
        try:
            item.answered(reply)
        except Exception as error:
            self._metrics.count("redis_faults")
            logger.error(
                "an answer of Redis was lost here: %s: %s", type(error).__name__, error, extra={"error": error}
            )

    def _refuse(self, items: list[Item], failure: Failure) -> None:
        self._metrics.count("redis_refused", drop(items))
        if self._refusals.is_new(failure.code):
            logger.warning("Redis refuses what is sent to %s: %s", items[0].name.decode("utf-8", "replace"), failure)


def _is_final(failure: Failure) -> bool:
    """Whether Redis would refuse the command again."""
    if failure.code == "NOPERM":
        return "channel" in failure or "key" in failure
    if failure.code == "WRONGTYPE" or "WRONGTYPE" in failure:
        return True
    # Redis 6 reports what a script ran into as ERR, with the code in the text.
    return failure.code == "ERR" and not any(code in failure for code in _TRANSIENT)
