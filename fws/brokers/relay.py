"""The relay: a greenlet that reads messages from Redis and hands them to the hub, and another one that subscribes.

The pub/sub of redis-py is not used. It sends pings and does not require an answer, so that it does not notice a frozen
Redis. It gives up after a few attempts. And it keeps whole messages in memory that are too large.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import gevent
from gevent.event import Event

from fws.brokers.carrier import Confirmed, Received, Settings, Take
from fws.brokers.subscriptions import Subscriptions
from fws.redis.backoff import Backoff
from fws.redis.connector import ConnectorError, Stream, error_text
from fws.redis.resp import Failure, Replies, RespError, command, commands
from fws.runtime.scheduler import Budget, pause

logger = logging.getLogger("fws.redis")

# Seconds between two pings, and seconds without a byte until Redis is considered dead. It is noticed within 10 s.
PING = 3.0
SILENCE = 6.0


class Relay:
    """Receives messages from one Redis, and reconnects without limit.

    Args:
        connect: returns a stream that is logged in. Raises ConnectorError.
        subscriptions: the wanted channels; with `sharded`, they are sharded channels of a Cluster.
        take: called for each message, in order.
        crowded: whether nothing more may be read now (backpressure).
        confirmed: called for each wanted channel to which Redis has subscribed this connection.
        names, patterns: further channels, always subscribed as ordinary ones.
        globs: the wanted patterns for names of fws.
        moved: called if this Redis replies that another one serves a channel.
    """

    def __init__(
        self,
        connect: Callable[[], Stream],
        subscriptions: Subscriptions,
        settings: Settings,
        take: Take,
        crowded: Callable[[], bool],
        confirmed: Confirmed,
        names: Sequence[bytes] = (),
        patterns: Sequence[bytes] = (),
        *,
        globs: Subscriptions | None = None,
        sharded: bool = False,
        moved: Callable[[], None] | None = None,
    ) -> None:
        self._connect = connect
        self._subscriptions = subscriptions
        self._names = names
        self._patterns = patterns
        self._take = take
        self._crowded = crowded
        self._confirmed = confirmed
        self._largest = settings.largest
        self._health = settings.health
        self._metrics = settings.metrics
        self._clock = settings.clock
        self._sharded = sharded
        self._globs = Subscriptions(settings.clock) if globs is None else globs
        self._moved = moved
        self._backoff = Backoff()
        self._wake = Event()
        self._stream: Stream | None = None
        self._up = False
        self._stopped = False
        self._greenlet: gevent.Greenlet | None = None

    def start(self) -> None:
        self._health.expect(self)
        self._greenlet = gevent.spawn(self._run)

    def changed(self) -> None:
        """The subscriptions have changed. Never blocks, because the other greenlet sends the changes to Redis."""
        self._wake.set()

    def leave(self, place: tuple[str, int] | None = None) -> None:
        """Reconnect, unless the connection is to this place already."""
        if self._stream is not None and self._stream.place != place:
            self._stream.close()

    def stop(self) -> None:
        self._stopped = True
        if self._greenlet is not None:
            self._greenlet.kill(block=False)
        self.leave()
        self._health.forget(self)

    def _run(self) -> None:
        while not self._stopped:
            gevent.sleep(self._backoff.next())
            try:
                self._stream = stream = self._connect()
                companion = gevent.spawn(self._ask, stream)
                try:
                    self._read(stream)
                finally:
                    self._stream = None
                    companion.kill(block=False)
                    stream.close()
                    if self._up:
                        self._up = False
                        # Publications of other nodes do not arrive from now on, and their number is unknown.
                        self._metrics.count("redis_gaps")
            except (ConnectorError, RespError) as error:
                # If `stop` closes the stream, it may fail before the greenlet notices that it must end.
                if not self._stopped:
                    self._health.down(self, str(error))
            except gevent.GreenletExit:
                # If a filter raises it, that ends the filter and not the relay.
                if self._stopped:
                    raise
                self._health.down(self, "a filter raised GreenletExit")

    def _ask(self, stream: Stream) -> None:
        """Send changes of subscriptions and pings to Redis. Nothing else writes to the stream."""
        self._subscriptions.renew()
        self._globs.renew()
        pinged = 0.0
        try:
            # In this order, so that the answer to the first ping shows that all subscriptions are complete.
            stream.send(commands(b"SUBSCRIBE", self._names) + commands(b"PSUBSCRIBE", self._patterns))
            while True:
                self._wake.clear()
                new, gone = self._subscriptions.changes()
                if self._sharded:
                    # One by one, because two nodes may serve the slots of two names.
                    data = commands(b"SSUBSCRIBE", new, 1) + commands(b"SUNSUBSCRIBE", gone, 1)
                else:
                    data = commands(b"SUBSCRIBE", new) + commands(b"UNSUBSCRIBE", gone)
                more, less = self._globs.changes()
                data += commands(b"PSUBSCRIBE", more) + commands(b"PUNSUBSCRIBE", less)
                if self._clock() - pinged >= PING:
                    pinged = self._clock()
                    data += command(b"PING")
                if data:
                    stream.send(data)
                wait = pinged + PING - self._clock()
                changes = (self._subscriptions.wait(), self._globs.wait())
                self._wake.wait(max(0.0, min(wait, *(change for change in changes if change is not None), wait)))
        except ConnectorError:
            stream.close()

    def _read(self, stream: Stream) -> None:
        replies = Replies(self._largest)
        heard = self._clock()
        budget = Budget()
        while True:
            data = stream.receive(1.0)
            if not data:
                if self._clock() - heard > SILENCE:
                    raise ConnectorError("it does not answer")
                continue
            heard = self._clock()
            budget.start()
            for reply in replies.feed(data):
                self._heed(reply)
                while self._crowded():
                    pause()
                budget.spend()

    def _heed(self, reply: Any) -> None:
        if isinstance(reply, Failure):
            if self._moved is not None:
                self._moved()
            raise ConnectorError(error_text(reply))
        if not isinstance(reply, list):
            # A node of a Cluster without subscriptions answers a ping like this.
            reply = [reply]
        match reply:
            case [b"message" | b"smessage", bytes(channel), payload]:
                self._guarded(Received(channel, payload, None))
            case [b"pmessage", bytes(pattern), bytes(channel), payload]:
                self._guarded(Received(channel, payload, pattern))
            case [b"subscribe" | b"ssubscribe", bytes(channel), *_]:
                self._confirmed(channel)
            case [b"pong" | b"PONG", *_]:
                if not self._up:
                    self._up = True
                    self._backoff.reset()
                    self._health.up(self)
            case [b"sunsubscribe", bytes(channel), *_] if channel in self._subscriptions and self._moved is not None:
                # It was not requested, so that the slot has moved.
                self._metrics.count("redis_gaps")
                self._subscriptions.lost(channel)
                self._moved()

    def _guarded(self, received: Received) -> None:
        self._metrics.count("redis_received")
        try:
            self._take(received)
        except Exception as error:
            self._metrics.count("redis_faults")
            logger.error(
                "a message from Redis was lost here: %s: %s", type(error).__name__, error, extra={"error": error}
            )
