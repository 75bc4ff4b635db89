"""The sender: the greenlet that writes the buffer to Redis, in pipelined writes."""

from __future__ import annotations

from collections.abc import Callable

import gevent
from gevent.event import Event

from fws.brokers.buffer import Buffer
from fws.brokers.carrier import Settings
from fws.redis.backoff import MOST, Backoff
from fws.redis.connector import REPLY, ConnectorError, Stream, error_text
from fws.redis.resp import Failure, Replies, RespError, command

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
    """Sends to one Redis, at most once: what has been written is never written again.

    Args:
        connect: returns a stream that is logged in. Raises ConnectorError.
        word: `PUBLISH`, or `SPUBLISH` in a Cluster.
        moved: called with payloads that this Redis refuses because another one serves the channel.
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
        # Set while nothing waits or is under way.
        self._idle = Event()
        self._idle.set()
        self._stream: Stream | None = None
        self._leaving = False
        self._greenlet: gevent.Greenlet | None = None

    def start(self) -> None:
        self._health.expect(self)
        self._greenlet = gevent.spawn(self._run)

    def send(self, channel: bytes, payload: bytes) -> None:
        """Send a payload soon. Never blocks."""
        self._idle.clear()
        if dropped := self._buffer.append(channel, payload):
            self._metrics.count("redis_dropped", dropped)
        self._wake.set()

    def leave(self, place: tuple[str, int] | None = None) -> None:
        """Reconnect, unless the connection is to this place already. A write under way is finished first."""
        if self._stream is not None and self._stream.place != place:
            self._leaving = True
            self._wake.set()

    def flush(self, timeout: float) -> None:
        """Block until everything has been sent, for at most `timeout` seconds."""
        self._idle.wait(timeout)

    def stop(self) -> list[tuple[bytes, bytes]]:
        """End at once. Returns the payloads that were not sent."""
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
        # It is better to notice a dead connection before something is written to it.
        stream.ask(b"PING")
        if self._backoff.waited:
            gevent.sleep(SETTLE)
            stream.ask(b"PING")
        # A Redis that answers a ping may still refuse to publish. It is available if it has accepted a publication.
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
            # The end of the stream is noticed even if there is nothing to send, because later writes would be lost.
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
                            # The Redis user may not publish to this channel, so that a retry would always be refused.
                            self._metrics.count("redis_refused")
                        else:
                            failure = reply
                            refused.append(items[answered])
                    answered += 1
        finally:
            # It is unknown whether commands without an answer were executed. Sending them again could publish them
            # twice.
            self._metrics.count("redis_unconfirmed", len(items) - answered)
            self._metrics.count("redis_published", answered - len(refused) - len(moved))
            if refused and (dropped := self._buffer.put_back(refused)):
                self._metrics.count("redis_dropped", dropped)
            if moved and self._moved is not None:
                self._moved(moved)
        if failure is not None:
            raise ConnectorError(error_text(failure))
