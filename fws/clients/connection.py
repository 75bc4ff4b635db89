"""A connection: the bytes of one client become events, and these are served one after the other.

The event loop's own callback reads and decodes. Where no filter of the endpoint's pipelines may block, it serves the
events as well; otherwise the client's greenlet does, which is made when it is first needed. While events wait to be
served, the *backlog*, nothing is read: the kernel's buffers fill, and TCP makes the peer wait.

Who calls what:

    the loop: the socket is readable   _readable -> _received -> serve, or the backlog
    the loop: others had their turn    _continue (serves in the loop)   or _wake (switches to the greenlet)
    the greenlet                       _run -> _serve_backlog, then parks until _wake
    the scheduler                      _end_throttling (a timer)   or _resume (publications were delivered)

Why nothing is read at the moment; each reason ends by itself, and `_resume` reads again when none is left:

    reason       set by        until
    _backlog     _received     all of it has been served: this takes a turn of the loop, or longer in the greenlet
    _paused      _pause        the backlog has been served, and publications on their way are below the limit
    _throttled   _limit_rate   the client is within `[limits] bytes` and `messages` again
    _ended       _readable     never: the stream is at its end

`_parked` says that the greenlet exists and waits for `_wake`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from gevent import GreenletExit, get_hub, kill
from greenlet import greenlet

from fws.clients.outbox import Outbox
from fws.clients.transport import MAX_READ
from fws.runtime.scheduler import end_of_turn, overdue, queue_up
from fws.wire.frames import Decoder

if TYPE_CHECKING:
    from fws.clients.host import Host
    from fws.clients.transport import Transport

logger = logging.getLogger("fws")

# The most bytes of one read, unless a larger frame has begun. If these are tiny frames, they take 6 ms to decode.
READ = 16 * 1024
# The limits between which one read of compressed data is.
READ_DEFLATED = 512, 4 * 1024
# Decompressed data can be larger by this factor. The best ratio of deflate is 1,032 to 1.
RATIO = 1024
# Reads of at most this size are served at once, bypassing the queue for turns.
SMALL_READ = 256


def read_of(max_message: int, compressed: bool) -> int:
    """The most bytes of one read. Compressed data is limited to what can become the largest message."""
    least, most = READ_DEFLATED
    return READ if not compressed else max(least, min(most, max_message // RATIO))


class Connection:
    """Reads one client's socket and serves what arrives in order, for a bounded time in each turn of the loop.

    A subclass defines `serve`, `filter_data` and `disconnect`.

    Args:
        filters_data: whether bytes go through `filter_data` before they are decoded.
        waits: whether serving may block, which requires a greenlet.
    """

    __slots__ = (
        "_arrived",
        "_backlog",
        "_bytes_left",
        "_context",
        "_decoder",
        "_ended",
        "_filters_data",
        "_greenlet",
        "_heard",
        "_host",
        "_hub",
        "_messages_left",
        "_metered",
        "_parked",
        "_paused",
        "_publishes",
        "_read",
        "_throttled",
        "_transport",
        "_waits",
        "closing",
        "fd",
        "id",
        "outbox",
    )

    def __init__(self, host: Host, outbox: Outbox, *, filters_data: bool, waits: bool) -> None:
        self.id = ""
        self.fd = -1
        self.outbox = outbox
        self._host = host
        self._hub = host.hub
        self._context = host.context
        self._filters_data = filters_data
        self._waits = waits
        self._decoder: Decoder | None = None
        self._transport: Transport | None = None
        self._read = READ
        # Events that have not been served yet, if serving takes longer than a turn. A memoryview at the front holds
        # bytes that have not been decoded yet.
        self._backlog: deque[Any] | None = None
        self._greenlet: greenlet | None = None
        self._parked = False
        self._paused = False
        self._ended = False
        self._heard = False
        # The transport's `arrived` at the last call of `made_progress`.
        self._arrived = 0
        # Whether this client has ever caused a publication while it was served in the loop.
        self._publishes = False
        # What may be read before `_limit_rate` looks at the clock. A token bucket would do that for each read.
        self._bytes_left = self._messages_left = 0.0
        self._metered = 0.0
        self._throttled = False
        self.closing = False

    # For subclasses.

    def serve(self, event: Any) -> None:
        """Serve one event of the decoder, or what `enqueue` was given."""
        raise NotImplementedError

    def filter_data(self, data: bytes) -> bytes:
        """Return the bytes to decode for the bytes that arrived."""
        raise NotImplementedError

    def disconnect(self) -> None:
        """Called once at the end, in a greenlet if `disconnect_waits`."""
        raise NotImplementedError

    @property
    def disconnect_waits(self) -> bool:
        """Whether `disconnect` may block."""
        raise NotImplementedError

    # Reading.

    @property
    def busy(self) -> bool:
        """Whether events wait to be served. Nothing is read then, so an unanswered ping proves nothing."""
        return self._backlog is not None or self._paused

    def begin(self, transport: Transport, decoder: Decoder, read: int, data: bytes) -> None:
        """Start reading. `data` arrived together with the handshake and is served first.

        Args:
            read: the result of `read_of`.
        """
        self._transport = transport
        self._decoder = decoder
        self._read = read
        limits = self._host.limits
        self._bytes_left, self._messages_left = float(limits.bytes), max(limits.messages, 1.0)
        self._metered = self._context.clock()
        self._context.scheduler.soon(self._begin, transport, data)

    def _begin(self, transport: Transport, data: bytes) -> None:
        transport.start_reading(self._readable)
        if data:
            self._guard(self._received, data)

    def _readable(self) -> None:
        """In the loop: bytes have arrived, or the stream has ended."""
        transport, decoder = self._transport, self._decoder
        assert transport is not None
        # Backpressure: while too much is on its way to members, clients that publish are not read. Clients that are
        # served in a greenlet wait there.
        if self._backlog is not None or (self._publishes and self._hub.crowded):
            self._pause(transport)
            return
        left = decoder.left if decoder is not None else 0
        if left:
            self._heard = True
        read = self._read
        if left > read and read == READ:
            read = min(left, MAX_READ)
        data = transport.receive(read)
        if data:
            size, hub = len(data), self._hub
            self._bytes_left -= size
            hub.traffic.bytes_in += size
            if size > SMALL_READ and (self._context.scheduler.crowded or overdue()):
                # Clients that send much share one turn per round of the loop. Each of them may take milliseconds.
                self._backlog = deque((memoryview(data),))
                self._context.scheduler.later(self._wake if self._waits else self._continue)
            else:
                # The same as `_guard`. Calling it would cost an echo 2 %.
                weight = hub.weight
                try:
                    self._received(data)
                except BaseException as error:
                    self._failed(error)
                if hub.weight > weight:
                    self._publishes = True
            if self._bytes_left < 0 or self._messages_left < 0:
                self._limit_rate(transport)
        elif data is not None:
            transport.stop_reading()
            self._ended = True
            # A peer may end its half of the stream after its Close frame, and still read ours.
            if not (self.closing and self.outbox.waits):
                self._wake()

    def _failed(self, error: BaseException) -> None:
        """Log an exception that is not a filter's: a bug of fws, or a time-out that a filter left running."""
        name = type(error).__name__
        extra = {"client": self.id, "error": error}
        logger.error("serving client %s failed: %s: %s", self.id, name, error, extra=extra)
        if self._transport is not None:
            self._transport.abort()

    def _pause(self, transport: Transport) -> None:
        """Stop reading until all decoded events have been served, and publications have been written."""
        transport.stop_reading()
        self._paused = True
        if self._backlog is None:
            self._hub.when_uncrowded(self._resume)

    def _limit_rate(self, transport: Transport) -> None:
        """One second's worth of data or messages has been read. If this took less than a second, stop for the rest."""
        limits, now = self._host.limits, self._context.clock()
        passed, self._metered = now - self._metered, now
        burst = max(limits.messages, 1.0)
        self._bytes_left = min(limits.bytes, self._bytes_left + passed * limits.bytes)
        self._messages_left = min(burst, self._messages_left + passed * limits.messages)
        wait = max(-self._bytes_left / limits.bytes, -self._messages_left / limits.messages)
        if wait > 0 and not self._throttled and self._decoder is not None:
            self._context.metrics.count("throttles")
            self._throttled = self._paused = True
            transport.stop_reading()
            self._context.scheduler.after(wait, self._end_throttling)

    def _end_throttling(self) -> None:
        self._throttled = False
        if self._backlog is None:
            self._resume()

    def _resume(self) -> None:
        if self._paused and not self._throttled and self._transport is not None:
            self._paused = False
            self._transport.start_reading(self._readable)

    def _guard(self, serve: Callable[[Any], None], what: Any) -> None:
        """Serve something, and remember whether that publishes."""
        hub = self._hub
        weight = hub.weight
        try:
            serve(what)
        except BaseException as error:
            self._failed(error)
        if hub.weight > weight:
            self._publishes = True

    def _received(self, data: bytes) -> None:
        """In the loop: serve bytes that arrived, or leave them to the greenlet."""
        if self._waits:
            self._backlog = deque((memoryview(data),)) if self._filters_data else deque(self._decode(data))
            if self._backlog:
                self._wake()
            else:
                self._backlog = None
            return
        if self._filters_data:
            data = self.filter_data(data)
        decoder = self._decoder
        events = decoder.feed(data) if decoder is not None else []
        self._messages_left -= len(events)
        if len(events) == 1:
            self.serve(events[0])
        elif events:
            self._serve_in_loop(events)

    def _decode(self, data: bytes) -> list[Any]:
        events = self._decoder.feed(data) if self._decoder is not None and data else []
        self._messages_left -= len(events)
        return events

    # Serving. Answers to the messages of one read are sent together.

    def _serve_in_loop(self, events: list[Any]) -> None:
        outbox = self.outbox
        outbox.cork()
        until = end_of_turn()
        for number, event in enumerate(events, 1):
            self.serve(event)
            if perf_counter() > until and number < len(events):
                self._backlog = deque(events[number:])
                self._context.scheduler.later(self._continue)
                break
        outbox.uncork()

    def _continue(self) -> None:
        """In the loop: go on serving after other clients had their turn."""
        if self._waits:
            # A reload has added a filter that may block.
            self._wake()
            return
        backlog, self._backlog = self._backlog or deque(), None
        if self._decoder is None:
            return  # the connection has ended meanwhile
        if backlog and type(backlog[0]) is memoryview:
            self._guard(self._received, backlog.popleft().tobytes())
            if backlog:
                self.take(list(backlog))
        else:
            self._guard(self._serve_in_loop, list(backlog))
        if self._backlog is None:
            self._resume()

    def take(self, events: Sequence[Any], *, first: bool = False) -> None:
        """Let events be served that have come another way than through the socket, or have waited elsewhere.

        They are not served here, but in a turn of the loop: the caller may be in a greenlet of somebody else, such as
        the one that reads Redis's answers. To serve them there could make that greenlet wait, and to switch to the
        client's greenlet would end it.

        Args:
            first: whether they are served before those that wait already.
        """
        if self._decoder is None:
            return  # the connection is over
        if self._backlog is None:
            self._backlog = deque(events)
            self._context.scheduler.soon(self._continue)
        elif first:
            self._backlog.extendleft(reversed(events))
        else:
            self._backlog.extend(events)

    def enqueue(self, event: Any) -> None:
        """Let the client's greenlet serve an event that does not come from the peer, after those that wait."""
        if self._backlog is None:
            self._backlog = deque()
            # A publication may reach hundreds of clients, and each of them may need a turn for it.
            self._context.scheduler.later(self._wake)
        self._backlog.append(event)

    def _wake(self) -> None:
        """In the loop: switch to the client's greenlet, or create it."""
        if self._greenlet is None:
            if self._ended and self._backlog is None and not self.disconnect_waits:
                # A greenlet for nothing else would cost 15 µs.
                self.disconnect()
                return
            self._greenlet = greenlet(self._run, get_hub())
            self._greenlet.switch()
        elif self._parked:
            self._parked = False
            self._greenlet.switch()

    def _run(self) -> None:
        """The client's greenlet, until the stream ends, or nothing may block any more."""
        over = True
        try:
            while True:
                self._serve_backlog()
                if self._ended:
                    break
                if not self._waits:
                    # Only its `connect` could block, or a publication was handed over. The stack takes some KiB.
                    over, self._greenlet = False, None
                    self._resume()
                    break
                self._resume()
                self._parked = True
                get_hub().switch()
        except GreenletExit:
            pass
        except BaseException as error:
            self._failed(error)
        finally:
            self._parked = False
            if over:
                self.disconnect()

    def _serve_backlog(self) -> None:
        backlog, outbox = self._backlog, self.outbox
        until = end_of_turn()
        while backlog:
            event = backlog.popleft()
            if type(event) is memoryview:
                data = event.tobytes()
                backlog.extendleft(reversed(self._decode(self.filter_data(data) if self._filters_data else data)))
                continue
            if backlog and not outbox.corked:
                outbox.cork()
                # If a filter blocks, the loop's next callback sends the answers that are ready.
                self._context.scheduler.soon(outbox.uncork)
            self.serve(event)
            if backlog and perf_counter() > until:
                queue_up(self._context.scheduler.later)
                until = end_of_turn()
        outbox.uncork()
        self._backlog = None

    def made_progress(self, transport: Transport) -> bool:
        """Whether bytes of an unfinished frame have arrived, or waiting bytes have been sent, since the last call.

        A peer cannot answer a ping in the middle of a frame (RFC 6455 5.4). It has not seen the ping either if other
        bytes wait before it, in the outbox or in the kernel.
        """
        before, self._arrived = self._arrived, transport.arrived()
        progress = self._heard or self.outbox.moved or 0 < before < self._arrived
        self._heard = self.outbox.moved = False
        return progress

    def end(self, transport: Transport) -> None:
        """End the connection: nothing more is read. Called by the sweeper."""
        self._decoder = None
        if self._ended:
            self._context.scheduler.soon(self._wake)
        else:
            # A flooding peer leaves megabytes in the socket, which would have to be read before its end is seen.
            transport.abort()

    def kill(self) -> None:
        """Abort the TCP connection and what the client's greenlet waits for. `disconnect` still runs."""
        if self._transport is not None:
            self._transport.abort()
        if self._greenlet is not None:
            kill(self._greenlet)

    def log_end(self, address: str, code: int, reason: str) -> None:
        """Log how an open connection ended. A client that was refused before the 101 has a line already."""
        if self._transport is not None and logger.isEnabledFor(logging.DEBUG):
            extra = {"client": self.id, "address": address, "code": code, "cause": self.id}
            how = f"{code} {reason}".rstrip()
            logger.debug("client %s at %s disconnected: %s", self.id, address, how, extra=extra)

    def release(self) -> None:
        """Free the memory that the connection holds, such as half of a large message, and close the socket."""
        self._decoder = None
        self._backlog = None
        if self._transport is not None:
            self._transport.close()
