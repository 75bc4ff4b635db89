"""The relay: the greenlet that reads what Redis pushes and gives it to the hub, and its companion that asks for it.

redis-py's own pub/sub is not used: it sends a ping but asks for no answer, so a frozen Redis is never noticed, it gives
up after a few attempts, and it keeps whole what it cannot use.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import gevent
from gevent.event import Event

from fws.brokers.carrier import Received, Settings, Take
from fws.brokers.subscriptions import Subscriptions
from fws.redis.backoff import Backoff
from fws.redis.connector import ConnectorError, Stream, told
from fws.redis.resp import Failure, Replies, RespError, command, commands
from fws.runtime.scheduler import Budget, pause

logger = logging.getLogger("fws.redis")

# Seconds between two pings, and without a byte from Redis until it counts as dead: noticed within 10 s.
PING = 3.0
SILENCE = 6.0


class Relay:
    """Hears one Redis, and connects again for ever.

    Args:
        connect: gives a stream that has been logged in. Raises ConnectorError.
        subscriptions: names to be subscribed; with `sharded` as a Cluster's sharded channels.
        take: called for each message, in order.
        crowded: whether nothing more should be read now.
        names, patterns: further channels, always subscribed as ordinary ones.
        moved: called when this Redis says that another one serves a channel.
    """

    def __init__(
        self,
        connect: Callable[[], Stream],
        subscriptions: Subscriptions,
        settings: Settings,
        take: Take,
        crowded: Callable[[], bool],
        names: Sequence[bytes] = (),
        patterns: Sequence[bytes] = (),
        *,
        sharded: bool = False,
        moved: Callable[[], None] | None = None,
    ) -> None:
        self._connect = connect
        self._subscriptions = subscriptions
        self._names = names
        self._patterns = patterns
        self._take = take
        self._crowded = crowded
        self._largest = settings.largest
        self._health = settings.health
        self._metrics = settings.metrics
        self._clock = settings.clock
        self._sharded = sharded
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
        """The subscriptions has changed. Never waits: the companion tells Redis."""
        self._wake.set()

    def leave(self, place: tuple[str, int] | None = None) -> None:
        """Connect anew, unless this is the place to be."""
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
                        # What other nodes publish from now on does not come here, and nobody knows how much it is.
                        self._metrics.count("redis_gaps")
            except (ConnectorError, RespError) as error:
                # Closed by `stop`, the stream may fail before the greenlet hears that it is to end.
                if not self._stopped:
                    self._health.down(self, str(error))
            except gevent.GreenletExit:
                # Raised by a filter, it ends what the filter did, not the relay.
                if self._stopped:
                    raise
                self._health.down(self, "a filter raised GreenletExit")

    def _ask(self, stream: Stream) -> None:
        """Tell Redis what is wanted, and ping it. The only one that writes to the stream."""
        self._subscriptions.renew()
        pinged = 0.0
        try:
            # In this order: the answer to the first ping says that all is subscribed.
            stream.send(commands(b"SUBSCRIBE", self._names) + commands(b"PSUBSCRIBE", self._patterns))
            while True:
                self._wake.clear()
                new, gone = self._subscriptions.changes()
                if self._sharded:
                    # One by one: the slots of two names may be served by two nodes.
                    data = commands(b"SSUBSCRIBE", new, 1) + commands(b"SUNSUBSCRIBE", gone, 1)
                else:
                    data = commands(b"SUBSCRIBE", new) + commands(b"UNSUBSCRIBE", gone)
                if self._clock() - pinged >= PING:
                    pinged = self._clock()
                    data += command(b"PING")
                if data:
                    stream.send(data)
                wait = pinged + PING - self._clock()
                change = self._subscriptions.wait()
                self._wake.wait(max(0.0, wait if change is None else min(wait, change)))
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
            raise ConnectorError(told(reply))
        if not isinstance(reply, list):
            # A Cluster's node of which nothing is subscribed answers a ping so.
            reply = [reply]
        match reply:
            case [b"message" | b"smessage", bytes(channel), payload]:
                self._guarded(Received(channel, payload, None))
            case [b"pmessage", bytes(pattern), bytes(channel), payload]:
                self._guarded(Received(channel, payload, pattern))
            case [b"pong" | b"PONG", *_]:
                if not self._up:
                    self._up = True
                    self._backoff.reset()
                    self._health.up(self)
            case [b"sunsubscribe", bytes(channel), *_] if channel in self._subscriptions and self._moved is not None:
                # Nobody asked for it: the slot has moved.
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
