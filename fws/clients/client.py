"""A client: the server's side of one accepted connection, from its `connect` pipeline to its `disconnect`."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from fws.base.close_codes import ABNORMAL, NO_STATUS, NORMAL, POLICY_VIOLATION, TOO_BIG, TRY_AGAIN_LATER
from fws.base.errors import Close, Refusal
from fws.channels.formats import EACH, PLAIN, Format, format_of
from fws.clients.connection import Connection, read_of
from fws.clients.outbox import Outbox
from fws.pipeline.outcomes import DROP, MAX_PARTS, Ask
from fws.pipeline.publication import Publication
from fws.pipeline.results import check_nothing
from fws.wire.deflate import Agreement, Inflater
from fws.wire.encoding import frame_of
from fws.wire.frames import Decoder, PeerClose, Ping, Pong, Violation, close, ping, pong

if TYPE_CHECKING:
    from fws.base.timers import Timer
    from fws.clients.host import Host
    from fws.clients.transport import Transport
    from fws.compiler.endpoint import Endpoint
    from fws.wire.request import Request


# What refuses a client after the 101, where there is no HTTP status any more: 4401 stands for 401.
CLOSE_STATUS = 4000


class _Handed(msgspec.Struct, frozen=True):
    """A publication that waits for the client's greenlet, and the bytes it takes meanwhile."""

    publication: Publication
    weight: int


class Client(Connection):
    """What filters get as `client`.

    Attributes:
        id: unique among all nodes.
        request: path, params, headers, query, cookies and address of the upgrade request.
        identity: who authentication says the client is, a mapping; None when nobody said.
        credential: what identifies the token that it came with, and is no secret; empty for none.
        state: what filters keep about this client.
        channels: names of the channels it has joined.
        close_code, close_reason: how the connection ended; 1006 when TCP ended without a Close frame.
    """

    __slots__ = (
        "_asked",
        "_connected",
        "_deadline",
        "_deferred",
        "_diverts",
        "_endpoint",
        "_gone",
        "_handed",
        "_message",
        "_next_ping",
        "_parts",
        "_pinged",
        "_rest",
        "_resting",
        "_said",
        "_spoke",
        "_too_late",
        "_when_renewed",
        "channels",
        "close_code",
        "close_reason",
        "credential",
        "deflate_bits",
        "filled",
        "format",
        "identity",
        "request",
        "state",
        "subprotocol",
    )

    def __init__(self, endpoint: Endpoint, request: Request, host: Host, subprotocol: str = "") -> None:
        waits = endpoint.data.waits or endpoint.message.waits or endpoint.deliver.waits
        outbox = Outbox(endpoint.bounds.max_outbox, self)
        super().__init__(host, outbox, filters_data=bool(endpoint.data), waits=waits)
        self.id = secrets.token_urlsafe(9)
        self.request = request
        self.identity: dict[str, Any] | None = None
        self.credential = ""
        self.state: dict[str, Any] = {}
        self.channels: set[str] = set()
        self.subprotocol = subprotocol
        self.close_code = ABNORMAL
        self.close_reason = ""
        self.deflate_bits = 0
        # Instances of filters with placeholders, kept as long as the client is here.
        self.filled: dict[Any, Any] = {}
        # Bytes of publications that wait for the client's own greenlet.
        self._handed = 0
        # Messages that the one being handled has become so far.
        self._parts = 0
        self.format: Format = EACH if endpoint.deliver else PLAIN
        self._endpoint = endpoint
        self._message = endpoint.message
        # What a filter of `connect` asks, while the client has not answered; the filter to go on with; and the alarm
        # that ends the wait.
        self._asked: Ask | None = None
        self._rest = 0
        self._too_late: Timer | None = None
        # Channels that it is to be a member of again when the answer was good.
        self._resting: tuple[str, ...] = ()
        # They look at each message before the pipeline does.
        self._diverts: tuple[Callable[[Client, Any], bool], ...] = ()
        self._when_renewed: tuple[Callable[[Client], object], ...] = ()
        self._connected = False
        self._gone = False
        self._deferred: list[Callable[[], object]] = []
        self._deadline = 0.0
        self._next_ping = 0.0
        self._pinged = 0.0
        # Whether it has sent a message since the sweeper last looked, and when the sweeper last saw that.
        self._said = False
        self._spoke = 0.0

    def __repr__(self) -> str:
        return f"<Client {self.id} {self.path}>"

    @property
    def endpoint(self) -> Endpoint:
        return self._endpoint

    @property
    def path(self) -> str:
        return self.request.path

    @property
    def address(self) -> str:
        return self.request.address

    @property
    def params(self) -> Any:
        """What the endpoint's path captured."""
        return self.request.params

    def time(self) -> str:
        """Now, as RFC 3339 in UTC with milliseconds: what the placeholder `{time}` gives."""
        now = datetime.fromtimestamp(self._context.wall(), UTC)
        return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    # What filters do with a client.

    def send(self, message: Any) -> bool:
        """Send one message: text for `str`, binary for `bytes`, JSON text for anything else. Never waits.

        At most once, in the order of the calls, after what was published to the client's channels before (where its
        `deliver` pipeline may wait, what is still in that pipeline comes later). False when the client is already on
        its way out.

        Raises:
            TypeError: a value that JSON cannot carry.
        """
        if self._hub.pending:
            self._hub.settle(self)
        return self.outbox.write(frame_of(message, self.deflate_bits))

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Begin the closing handshake. What was sent before goes out first; nothing is sent after. Never waits.

        TCP ends within `close_timeout`, whatever the peer does.

        Raises:
            ValueError: a code that may not be sent.
            TypeError: a code that is no number, a reason that is no text.
        """
        end = Close(code, reason)
        last = close(end.code, end.reason)
        if not self.closing:
            self._hub.settle(self)
            self._begin_close(code, reason)
            self.outbox.seal(last)

    def join(self, channel: str) -> None:
        """Become a member of a channel, until `leave` or the end. Raises ValueError for an impossible name."""
        self._hub.join(self, channel)

    def leave(self, channel: str) -> None:
        """Stop being a member of a channel; no harm if it was none."""
        self._hub.leave(self, channel)

    def defer(self, function: Callable[[], object]) -> None:
        """Call `function` when the client is gone, the last registered first, before the `disconnect` pipeline.

        For a client that is gone already it is called at once.
        """
        self._deferred.append(function)
        if self._gone:
            self._undo()

    def divert(self, function: Callable[[Client, Any], bool]) -> None:
        """Show each message to `function` before the `message` pipeline; what it returns True for goes no further.

        Of several the first looks first. It must not wait.
        """
        self._diverts += (function,)

    def undivert(self, function: Callable[[Client, Any], bool]) -> None:
        """Show it no more messages; no harm if it was shown none."""
        self._diverts = tuple(one for one in self._diverts if one != function)

    def when_renewed(self, function: Callable[[Client], object]) -> None:
        """Call `function` whenever the client's identity is another one. It must not wait.

        A `Reject` raised there ends the connection, with 4000 and the status as its close code.
        """
        self._when_renewed += (function,)

    def renewed(self) -> None:
        """Called by the filter that gave the client another identity.

        Raises:
            Reject: under this one it may not stay.
        """
        for function in self._when_renewed:
            check_nothing(function, function(self))

    def take_part(self) -> None:
        """Called by the pipeline for each message that the one being handled becomes.

        Raises:
            Close: 1009, for more than `MAX_PARTS`.
        """
        self._parts += 1
        if self._parts > MAX_PARTS:
            self._context.metrics.count("parts_over_limit")
            raise Close(TOO_BIG, f"one message becomes at most {MAX_PARTS}")

    # The connection, driven by the handler and the loop.

    def connect(self) -> None:
        """Run the `connect` pipeline. What it sends is held until `open`.

        Where a filter asks the client something, the rest of it runs when the first message has come.

        Raises:
            Reject: a filter refused the client, or one failed: access fails closed.
        """
        self._hub.expect(self)
        try:
            self._pass(self._endpoint.connect.happen(self))
        except BaseException as error:
            self._undo()
            raise self._context.faults.refusal(error, self) from None

    def _pass(self, asked: tuple[Ask, int] | None) -> None:
        """The `connect` pipeline came to its end, or to a question."""
        if asked is None:
            if self._transport is not None:
                # Before the 101 the handler does it.
                self._transport.claim(str((self.identity or {}).get("user") or ""))
            self._connected = True
            self._hub.admit(self)
            self.outbox.release()
            return
        self._asked, self._rest = asked
        self._resting += tuple(self.channels)
        for channel in self._resting:
            self.leave(channel)
        self.outbox.release()
        # The rest of the pipeline, and the filter that is answered, run where messages are served.
        self._waits = self._waits or self._endpoint.connect.waits
        before = self._diverts
        self._diverts = (lambda client, message: client._answer(message, before),)
        self._too_late = self._context.timers.at(self._context.clock() + self._asked.timeout, self._end_asking)

    def _answer(self, message: Any, diverts: tuple[Callable[[Client, Any], bool], ...]) -> bool:
        """The first message of a client that was asked: with a good answer it is in, else it goes."""
        asked = self._asked
        assert asked is not None
        self._diverts = diverts
        try:
            check_nothing(asked.answer, asked.answer(self, message))
            if self.closing:
                return True  # it took too long, or the server is going away
            self._stop_asking()
            # It is a member from here on, but a filter behind may still refuse it.
            self.outbox.hold()
            resting, self._resting = self._resting, ()
            for channel in resting:
                self.join(channel)
            self._pass(self._endpoint.connect.happen(self, self._rest))
        except BaseException as error:
            if isinstance(error, Close):
                self.close(error.code, error.reason)
                return True
            refusal = self._context.faults.refusal(error, self)
            if not isinstance(refusal, Refusal):
                raise refusal from None
            self._context.metrics.count(f"refused_{refusal.status}")
            if refusal.status == 401:
                self._host.admission.login_failed(self.address)
            self.close(CLOSE_STATUS + refusal.status, refusal.reason)
        return True

    def _stop_asking(self) -> None:
        self._asked = None
        if self._too_late is not None:
            self._too_late.cancel()
            self._too_late = None

    def _end_asking(self) -> None:
        self._too_late = None
        if not self.closing:
            self._context.metrics.count("logins_refused")
            self._context.metrics.count("logins_refused_late")
            self.close(CLOSE_STATUS + 401, "no token in time")

    def open(self, transport: Transport, head: bytes, agreement: Agreement | None, data: bytes) -> None:
        """Write `head`, the 101, and what was held; read frames, first those in `data`, which came with the request."""
        limits = self._host.limits
        inflater = None
        if agreement is not None:
            self.deflate_bits = agreement.server_bits
            if not self.format.each:
                self.format = format_of(self.deflate_bits)
            inflater = Inflater(agreement)
        largest = self._endpoint.bounds.max_message
        decoder = Decoder(largest, inflater=inflater, max_fragments=limits.max_fragments)
        self._spoke = self._context.clock()
        self._next_ping = self._spoke + limits.ping_interval
        self.outbox.open(transport, head, plain=self.format is PLAIN)
        self.begin(transport, decoder, read_of(largest, inflater is not None), data)

    @property
    def is_in(self) -> bool:
        """Whether its `connect` has passed, and nothing is asked of it any more."""
        return self._connected

    @property
    def is_open(self) -> bool:
        """Whether the 101 is out and TCP not yet ended."""
        return self._transport is not None

    def filter_data(self, data: bytes) -> bytes:
        """Run the `data` pipeline. After a Close nothing of it is served, so it does not run."""
        if self.closing:
            return data
        try:
            flowed = self._endpoint.data.run(self, data)
        except BaseException as error:
            self._raised("data", error)
            return b""
        if flowed is DROP:
            return b""
        if not isinstance(flowed, bytes | bytearray | memoryview):
            self._fault("data", TypeError(f"the data pipeline ended in {type(flowed).__name__}, not in bytes"))
            return b""
        return bytes(flowed)

    def serve(self, event: Any) -> None:
        """Serve one event: a message, a control frame, a violation, or a publication for the `deliver` pipeline."""
        kind = type(event)
        if kind is str or kind is bytes:
            # After our Close what the peer still says is read and ignored (RFC 6455 1.4).
            if not self.closing:
                self._said = True
                self._parts = 0
                try:
                    if self._diverts and any(look(self, event) for look in self._diverts):
                        return
                    self._message.run(self, event)
                except BaseException as error:
                    self._raised("message", error)
        elif kind is Ping:
            self.outbox.write(pong(event.payload))
        elif kind is Pong:
            self._answered()
        elif kind is PeerClose:
            self._peer_closed(event)
        elif kind is Violation:
            self._violated(event)
        elif kind is _Handed:
            self._handed -= event.weight
            self._deliver(event.publication)

    def _raised(self, event: str, error: BaseException) -> None:
        """A filter raised: the event ends, and the client stays unless the filter wants it to leave."""
        self._context.faults.settle(event, error, self, stops=self._waits)

    def deliver(self, publication: Publication, weight: int) -> None:
        """Run the `deliver` pipeline for a publication and send what is left. Called by the channel. Never waits.

        A pipeline that may wait runs in the client's own greenlet, so that nobody else waits for it; what is then
        on its way counts as if it were in the outbox.

        Args:
            weight: bytes that the publication takes while it waits.
        """
        if self.closing:
            return
        if not self._waits:
            self._deliver(publication)
        elif self._handed + weight > self._endpoint.bounds.max_outbox and self._handed:
            self.overflow()
        else:
            self._handed += weight
            self.hand(_Handed(publication, weight))

    def _deliver(self, publication: Publication) -> None:
        if self.closing:
            return
        # What its filters publish is known to come from this publication.
        lineage = self._hub.lineage
        outer = lineage.enter("deliver", publication)
        try:
            flowed = self._endpoint.deliver.run(self, publication)
            if isinstance(flowed, Publication):
                self.outbox.write(frame_of(flowed.message, self.deflate_bits))
        except BaseException as error:
            # What ends a greenlet does so here too: a `deliver` hook may have set a time-out.
            self._context.faults.settle("deliver", error, self)
        finally:
            lineage.leave(outer)

    def _peer_closed(self, event: PeerClose) -> None:
        if not self.closing:
            self._hub.settle(self)
            self._begin_close(event.code, event.reason)
            self.outbox.seal(close(event.code, event.reason if event.code != NO_STATUS else ""))
        self.outbox.end()

    def _violated(self, event: Violation) -> None:
        """Fail the connection (RFC 6455 7.1.7): say why, and do not wait for the peer's Close."""
        self._context.metrics.count("protocol_errors")
        self._context.metrics.count(f"protocol_errors_{event.code}")
        if not self.closing:
            self._hub.settle(self)
            self._begin_close(event.code, event.reason)
            self.outbox.seal(close(event.code, event.reason))
        self.outbox.end()

    def overflow(self) -> None:
        """The outbox is over its bound: the slow consumer goes, nobody waits for it."""
        if self.closing:
            return
        self._context.metrics.count("slow_consumers")
        self._begin_close(TRY_AGAIN_LATER, "too slow")
        self.outbox.seal(close(TRY_AGAIN_LATER, "too slow"), only=True)

    def _begin_close(self, code: int, reason: str) -> None:
        self.closing = True
        self.close_code, self.close_reason = code, reason
        # At least two of the sweeper's rounds, so that the Close frame has time to leave.
        timeout = max(1.0, self._host.limits.close_timeout)
        self._deadline = self._context.clock() + timeout

    def kill(self) -> None:
        """End TCP now, and whatever a filter of this client waits for. `disconnect` still runs."""
        self.closing = True
        super().kill()

    def tend(self, now: float, tick: float) -> None:
        """Called by the sweeper: ping, notice the dead, end what is stuck in closing.

        Args:
            now: the clock's seconds.
            tick: seconds until the next call, so that a deadline is not passed.
        """
        transport = self._transport
        if transport is None:
            return
        if self.closing:
            if now + tick >= self._deadline or (self._ended and not self.outbox.waits):
                self.end()
            return
        limits = self._host.limits
        if limits.idle_timeout is not None:
            if self._said or self.busy:
                self._said, self._spoke = False, now
            elif now - self._spoke >= limits.idle_timeout:
                self._context.metrics.count("idle_timeouts")
                self.close(POLICY_VIOLATION, "no message for too long")
                return
        if self._pinged:
            if self.busy or self.made_progress():
                self._pinged = now
            elif now - self._pinged >= limits.ping_timeout:
                self._context.metrics.count("ping_timeouts")
                self._begin_close(ABNORMAL, "no answer to a ping")
                transport.abort()
        elif now >= self._next_ping:
            self._pinged = now
            self.made_progress()
            self.outbox.write(ping(b""))

    def _answered(self) -> None:
        if self._pinged:
            self._next_ping = self._pinged + self._host.limits.ping_interval
            self._pinged = 0.0

    @property
    def disconnect_waits(self) -> bool:
        """Whether the `disconnect` pipeline may wait, or what filters deferred: of that nobody knows."""
        return self._endpoint.disconnect.waits or bool(self._deferred)

    def disconnect(self) -> None:
        """The end, exactly once for each client whose `connect` passed: channels, deferred calls, `disconnect`."""
        self.closing = True
        self.outbox.discard()
        self.let_go()
        if not self._connected:
            # It was asked for a token, and never in.
            self._stop_asking()
            if not self._gone:
                self._undo()
            return
        self._connected = False
        self._hub.leaving += 1
        try:
            self._undo()
            self._endpoint.disconnect.happen(self)
        except BaseException as error:  # as in a flow; and the greenlet ends here anyway
            self._fault("disconnect", error)
        finally:
            self._hub.leaving -= 1

    def _undo(self) -> None:
        """Remove the client from the hub and its channels, and make the calls that filters deferred."""
        self._gone = True
        self.log_end(self.request.address, self.close_code, self.close_reason)
        self._hub.remove(self)
        while self._deferred:
            try:
                self._deferred.pop()()
            except BaseException as error:  # one filter's fault must not keep the others' from being undone
                self._fault("defer", error)

    def _fault(self, event: str, error: BaseException) -> None:
        self._context.faults.report(event, error, self.id)
