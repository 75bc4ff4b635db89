"""The sender: the greenlet that takes what waits in the buffer to Redis, in pipelined writes."""

from __future__ import annotations

from collections.abc import Callable

import gevent
from gevent.event import Event

from fws.brokers.buffer import Buffer
from fws.brokers.carrier import Settings
from fws.redis.backoff import MOST, Backoff
from fws.redis.connector import REPLY, ConnectorError, Stream, told
from fws.redis.resp import Failure, Replies, RespError, command

# Bytes of one write. Only one is under way: what is lost at most when Redis goes away, and little enough for 2 s.
BATCH = 256 * 1024
# While Redis answers, more may wait than while it is away: a burst is sent in a moment.
BURST = 16 * 1024 * 1024
# Seconds between the return of Redis and the first message: by then the relays of all nodes have subscribed again, and
# what has waited here is not sent to nobody.
SETTLE = MOST + 0.5
# Seconds between two checks of a connection that has nothing to send.
CHECK = 3.0


class Sender:
    """Sends to one Redis. What it has written is never written again: at most once.

    Args:
        connect: gives a stream that has been logged in. Raises ConnectorError.
        word: `PUBLISH`, or `SPUBLISH` in a Cluster.
        moved: called with what this Redis refuses because another one serves the channel.
    """

    def __init__(
        self,
        connect: Callable[[], Stream],
        word: bytes,
        settings: Settings,
        moved: Callable[[list[tuple[bytes, bytes]]], None] | None = None,
    ) -> None:
        self._connect = connect
        self._word = word
        self._most = settings.buffer
        self._health = settings.health
        self._metrics = settings.metrics
        self._clock = settings.clock
        self._moved = moved
        self._buffer = Buffer(self._most)
        self._backoff = Backoff()
        self._wake = Event()
        # Set while nothing waits and nothing is under way.
        self._idle = Event()
        self._idle.set()
        self._stream: Stream | None = None
        self._leaving = False
        self._greenlet: gevent.Greenlet | None = None

    def start(self) -> None:
        self._health.expect(self)
        self._greenlet = gevent.spawn(self._run)

    def send(self, channel: bytes, payload: bytes) -> None:
        """Send it soon. Never waits."""
        self._idle.clear()
        if dropped := self._buffer.append(channel, payload):
            self._metrics.count("redis_dropped", dropped)
        self._wake.set()

    def leave(self, place: tuple[str, int] | None = None) -> None:
        """Connect anew, unless this is the place to be. What is being written is given its time."""
        if self._stream is not None and self._stream.place != place:
            self._leaving = True
            self._wake.set()

    def flush(self, timeout: float) -> None:
        """Wait until all is sent, at most `timeout` seconds."""
        self._idle.wait(timeout)

    def stop(self) -> list[tuple[bytes, bytes]]:
        """End at once. Returns what was not sent."""
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
                if dropped := self._buffer.bound(self._most):
                    self._metrics.count("redis_dropped", dropped)

    def _serve(self, stream: Stream) -> None:
        replies = Replies(BATCH)
        # A connection that is dead is better found before something is written to it.
        stream.ask(b"PING")
        if self._backoff.waited:
            gevent.sleep(SETTLE)
            stream.ask(b"PING")
        # A Redis that answers a ping may still refuse to publish: it is up when it has taken one.
        if items := self._buffer.take(1):
            self._publish(stream, replies, items)
        self._backoff.reset()
        self._buffer.bound(BURST)
        self._health.up(self)
        while True:
            items = [] if self._leaving else self._buffer.take(BATCH)
            if items:
                self._publish(stream, replies, items)
                continue
            self._idle.set()
            self._wake.clear()
            if self._leaving:
                raise ConnectorError("another one has taken its place")
            # An end is noticed while there is nothing to send: what is written after it would be lost.
            stop = stream.when_readable(self._wake.set)
            try:
                self._wake.wait(CHECK)
            finally:
                stop()
            if not self._buffer:
                stream.ask(b"PING")

    def _publish(self, stream: Stream, replies: Replies, items: list[tuple[bytes, bytes]]) -> None:
        answered = 0
        refused: list[tuple[bytes, bytes]] = []
        moved: list[tuple[bytes, bytes]] = []
        failure = None
        try:
            stream.send(b"".join([command(self._word, channel, payload) for channel, payload in items]))
            until = self._clock() + REPLY
            while answered < len(items):
                left = until - self._clock()
                if left <= 0:
                    raise ConnectorError("it does not answer")
                for reply in replies.feed(stream.receive(left)):
                    if isinstance(reply, Failure):
                        if self._moved is not None and reply.code in ("MOVED", "ASK", "CLUSTERDOWN", "TRYAGAIN"):
                            moved.append(items[answered])
                        elif reply.code == "NOPERM" and "channel" in reply:
                            # Its user may publish, but not there: it would be refused for ever.
                            self._metrics.count("redis_refused")
                        else:
                            failure = reply
                            refused.append(items[answered])
                    answered += 1
        finally:
            # Nobody knows whether what has no answer was carried out: once more could be twice.
            self._metrics.count("redis_unconfirmed", len(items) - answered)
            self._metrics.count("redis_published", answered - len(refused) - len(moved))
            if refused and (dropped := self._buffer.put_back(refused)):
                self._metrics.count("redis_dropped", dropped)
            if moved and self._moved is not None:
                self._moved(moved)
        if failure is not None:
            raise ConnectorError(told(failure))
