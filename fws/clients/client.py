"""A client: the server's side of one connection, from its `connect` pipeline to its `disconnect` pipeline."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Any

from fws.base.close_codes import SERVICE_RESTART, label_of
from fws.base.errors import Close, Refusal, Reject
from fws.base.times import rfc3339
from fws.clients.caller import Caller
from fws.clients.challenge import Challenge
from fws.clients.connection import read_of
from fws.clients.handed import Handed, Missed, Resumed
from fws.clients.outbox import Outbox
from fws.clients.state import State
from fws.pipeline.outcomes import DROP, Ask
from fws.pipeline.results import check_nothing
from fws.protocols.sessions import session_of
from fws.wire.deflate import Agreement, Inflater
from fws.wire.encoding import frame_of
from fws.wire.frames import Decoder, PeerClose, Ping, Pong, Violation, pong
from fws.wire.framing import WEBSOCKET, Transport
from fws.wire.lines import Deaf, LineDecoder

if TYPE_CHECKING:
    from fws.clients.host import Host
    from fws.clients.transport import Transport as Connected
    from fws.compiler.endpoint import Endpoint
    from fws.pipeline.pipeline import Pipeline
    from fws.wire.request import Request

Claim = Callable[[str], None]


class Client(Caller):
    """What filters get as `client`. `fws.pipeline.interfaces` describes the attributes that filters use."""

    __slots__ = (
        "_challenge",
        "_deferred",
        "_diverts",
        "_when_renewed",
        "credential",
        "request",
        "state",
        "subprotocol",
        "templated",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        request: Request,
        host: Host,
        subprotocol: str = "",
        transport: Transport = "websocket",
    ) -> None:
        outbox = Outbox(endpoint.bounds.max_outbox, self, host.context.traffic)
        super().__init__(endpoint, host, outbox)
        self.id = secrets.token_urlsafe(9)
        self.request = request
        self.credential = ""
        self.state: dict[str, Any] = {}
        self.subprotocol = subprotocol
        # Instances of filters with placeholders, kept as long as the client is here.
        self.templated: dict[Any, Any] = {}
        self._challenge: Challenge | None = None
        self._diverts: tuple[Callable[[Client, Any], bool], ...] = ()
        self._when_renewed: tuple[Callable[[Client], object], ...] = ()
        self._deferred: list[Callable[[], object]] = []

        if transport != "websocket" or endpoint.settings.protocol != "raw":
            limits = host.limits
            self.session = session_of(
                self,
                endpoint.settings.protocol,
                transport,
                ping=limits.ping_interval,
                timeout=limits.handshake_timeout,
                last=request.headers.get("last-event-id", ""),
                identifies=lambda: host.identify(self),
            )
            self.format = self._wanted

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
        """The parameters of the endpoint's path."""
        return self.request.params

    def time(self) -> str:
        """The present time as RFC 3339 in UTC with milliseconds, as the placeholder `{time}` gives it."""
        return rfc3339(self._context.wall())

    # For filters.

    def send(self, message: Any) -> bool:
        """Send one message: text for `str`, binary for `bytes`, JSON text for anything else. Never blocks.

        The message is delivered at most once. Messages arrive in the order of the calls, and after what was published
        to the client's channels before. (If its `deliver` pipeline may block, what is still in that pipeline arrives
        later.)

        Returns:
            False if the connection is already ending, or the client is a slow consumer.

        Raises:
            TypeError: the value cannot be written as JSON.
        """
        hub = self._hub
        hub.traffic.replies += 1
        if hub.listener is not None:
            hub.listener.told(self, message)
        if hub.pending:
            hub.settle(self)
        if self.session is not None:
            return self.outbox.write(self.session.message(message))
        return self.outbox.write(frame_of(message, self.deflate_bits))

    @property
    def _member(self) -> Client:
        return self

    def defer(self, function: Callable[[], object]) -> None:
        """Call `function` when the client is gone, before the `disconnect` pipeline. The last registered comes first.

        If the client is gone already, `function` is called at once.
        """
        self._deferred.append(function)
        if self._life is State.CLOSED:
            self._call_deferred()

    def divert(self, function: Callable[[Client, Any], bool]) -> None:
        """Show each message to `function` before the `message` pipeline. If it returns True, the message ends there.

        Several functions are called in the order of registration. They must not block.
        """
        self._diverts += (function,)

    def undivert(self, function: Callable[[Client, Any], bool]) -> None:
        """Undo `divert`. Does nothing without it."""
        self._diverts = tuple(one for one in self._diverts if one != function)

    def when_renewed(self, function: Callable[[Client], object]) -> None:
        """Call `function` whenever the client gets a new identity. It must not block.

        If it raises `Reject`, the connection ends with 4000 plus the status as its close code.
        """
        self._when_renewed += (function,)

    def renewed(self) -> None:
        """Called by a filter that has given the client a new identity.

        Raises:
            Reject: the client may not stay connected with this identity.
        """
        outer, self.call = self.call, self._connect
        try:
            for function in self._when_renewed:
                check_nothing(function, function(self))
        finally:
            self.call = outer
        self._check_subscriptions()
        self._host.channels.refresh(self)

    def _settle(self) -> None:
        self._hub.settle(self)

    # For the handler and the event loop.

    def connect(self, claim: Claim | None = None) -> None:
        """Run the `connect` pipeline. What it sends is kept back until `open`.

        If a filter returns `Ask`, the rest of the pipeline runs when the first message has arrived.

        Args:
            claim: counts the connection as a user's, and raises Refusal if the user has too many.

        Raises:
            Refusal: a filter refused the client or failed, or the user has too many connections. Access fails closed:
                the client is in no channel, and what filters deferred has been called.
        """
        self._hub.expect(self)
        if self.session is not None and self.session.connects:
            # Its first command decides. That is served where the pipeline may block.
            self._waits = self._waits or self._endpoint.connect.waits
            self._become(State.CHALLENGED)
            return
        try:
            connect = self._endpoint.connect
            self._continue_connecting(connect, connect.happen(self), claim)
        except BaseException as error:
            self._undo()
            raise self._refusal(error) from None

    def _continue_connecting(self, connect: Pipeline, asked: tuple[Ask, int] | None, claim: Claim | None) -> None:
        """The pipeline `connect` has passed, or one of its filters returned `Ask`."""
        if asked is None:
            if claim is not None:
                claim(self.user)
            self._enter()
            self.outbox.release()
            self._host.channels.admitted(self)
            return
        if self.session is not None and not self.session.listens:
            raise Reject(401, "A token is needed here.")
        ask, next_filter = asked
        channels = tuple(self.channels)
        for channel in channels:
            self.leave(channel)
        self.outbox.release()
        # The rest of the pipeline and the filter's `answer` run where messages are served.
        self._waits = self._waits or connect.waits
        timer = self._context.timers.at(self._context.clock() + ask.timeout, self._answer_is_late)
        self._challenge = Challenge(ask, connect, next_filter, channels, self._diverts, timer)
        self._diverts = (Client._answer,)
        if not self.closing and self._life is not State.CHALLENGED:
            self._become(State.CHALLENGED)

    def _answer(self, message: Any) -> bool:
        """The first message of a challenged client: the client is admitted, or the connection ends."""
        challenge, self._challenge = self._challenge, None
        assert challenge is not None
        self._diverts = challenge.diverts
        try:
            check_nothing(challenge.ask.answer, challenge.ask.answer(self, message))
            if self.closing:
                return True  # the answer came too late, or the server is shutting down
            challenge.timer.cancel()
            # The client is a member from here on, but a later filter may still refuse it.
            self.outbox.hold()
            for channel in challenge.channels:
                self.join(channel)
            claim = self._transport.claim if self._transport is not None else None
            connect = challenge.connect
            self._continue_connecting(connect, connect.happen(self, challenge.next_filter), claim)
        except BaseException as error:
            challenge.timer.cancel()
            if isinstance(error, Close):
                self.close(error.code, error.reason)
                return True
            refusal = self._refusal(error)
            if not isinstance(refusal, Refusal):
                raise refusal from None
            self.refuse(refusal)
        return True

    def _answer_is_late(self) -> None:
        if not self.closing:
            self._context.metrics.count("logins_refused", label="late")
            self.refuse(Reject(401, "No token in time."))

    def open(self, transport: Connected, head: bytes, agreement: Agreement | None, data: bytes) -> None:
        """Send the 101 in `head` and what was kept back. Then read frames, beginning with `data`.

        Args:
            agreement: the compression that was agreed on; None without any.
            data: bytes that arrived together with the request.
        """
        limits = self._host.limits
        inflater = None
        if agreement is not None:
            self.deflate_bits = agreement.server_bits
            self.format = self._wanted
            inflater = Inflater(agreement)
        largest = self._endpoint.bounds.max_message
        kind = Decoder
        if (session := self.session) is not None:
            kind = Deaf if session.framing.streams else LineDecoder
            if not session.framing.streams:
                session.framing = WEBSOCKET[self.deflate_bits]
                self.format = self._wanted
        decoder = kind(largest, inflater=inflater, max_fragments=limits.max_fragments)
        self._start_pings()
        self.outbox.open(transport, head, direct=not self.format.each)
        self.begin(transport, decoder, read_of(largest, inflater is not None), data)

    def move(self, endpoint: Endpoint, templated: Container[Any]) -> None:
        """A reload has replaced the client's endpoint: its next event runs in the new one.

        An event in progress finishes in the old endpoint.

        Args:
            templated: the stages with placeholders whose instances the client keeps.
        """
        old, self._endpoint = self._endpoint, endpoint
        if endpoint.settings.protocol != old.settings.protocol:
            self.close(SERVICE_RESTART, "the endpoint speaks another protocol now")
        self._message = endpoint.message
        self._filters_data = bool(endpoint.data)
        # While its greenlet is at work, it stays responsible: what it has not served yet must not be overtaken.
        self._waits = endpoint.waits or (self._waits and (self.busy or self._challenge is not None))
        if self.session is not None and self.session.connects and not self._admitted:
            self._waits = self._waits or endpoint.connect.waits
        self.outbox.limit = endpoint.bounds.max_outbox
        if self._decoder is not None and endpoint.bounds.max_message != old.bounds.max_message:
            self._decoder.max_message = endpoint.bounds.max_message
            self._read = read_of(endpoint.bounds.max_message, bool(self.deflate_bits))
        self._set_format()
        if self.templated:
            self.templated = {key: value for key, value in self.templated.items() if key in templated}

    @property
    def is_in(self) -> bool:
        """Whether the `connect` pipeline has passed and the client has answered every challenge."""
        return self._admitted

    @property
    def is_open(self) -> bool:
        """Whether the 101 has been sent."""
        return self._transport is not None

    def filter_data(self, data: bytes) -> bytes:
        """Run the `data` pipeline. It does not run after a Close, because nothing is served then."""
        if self.closing and self._life is not State.LEAVING:
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
            # After our Close, messages of the peer are read and ignored (RFC 6455 1.4), unless it is only dismissed.
            if not self.closing or self._life is State.LEAVING:
                if self.session is not None:
                    self._serve_line(event)
                    return
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
        elif kind is Handed:
            self._serve_handed(event)
        elif kind is Missed:
            self._tell_missed(event)
        elif kind is Resumed:
            self._resume_message(event)
        elif kind is Close:
            self._dismissed(event)

    def _serve_line(self, line: str | bytes) -> None:
        """Serve one command of a protocol."""
        assert self.session is not None
        waits = self._waits  # `connect` may be over afterwards, and with it the need for a greenlet
        try:
            self.session.receive(line)
        except BaseException as error:
            self._context.faults.settle("message", error, self, stops=waits)

    @property
    def disconnect_waits(self) -> bool:
        """Whether the `disconnect` pipeline may block. Functions that filters deferred may always block."""
        endpoint = self._endpoint
        return endpoint.disconnect.waits or endpoint.unsubscribe.waits or bool(self._deferred)

    def disconnect(self) -> None:
        """End the client: leave channels, call what was deferred, and run the `disconnect` pipeline.

        The pipeline runs exactly once for each client whose `connect` pipeline has passed.
        """
        if not self.closing:
            self._become(State.CLOSING)
        self.outbox.discard()
        self.release()
        if not self._admitted:
            # The client was challenged and never admitted.
            if self._challenge is not None:
                self._challenge.timer.cancel()
                self._challenge = None
            self._undo()
            return
        self._admitted = False
        self._hub.leaving += 1
        try:
            self._undo()
            self._endpoint.disconnect.happen(self)
        except BaseException as error:  # a filter may raise anything, and the greenlet ends here anyway
            self._fault("disconnect", error)
        finally:
            self._hub.leaving -= 1

    def _undo(self) -> None:
        """Remove the client from the hub and its channels, and call what filters deferred."""
        if self._life is State.CLOSED:
            return
        self._become(State.CLOSED)
        if self.session is not None:
            self.session.end()
            self._host.forget(self)
        self.log_end(self.request.address, self.close_code, self.close_reason)
        if self.is_open:
            self._context.metrics.count("closes", label=label_of(self.close_code))
        self._end_subscriptions()
        self._host.channels.remove(self)
        self._call_deferred()

    def _call_deferred(self) -> None:
        while self._deferred:
            try:
                self._deferred.pop()()
            except BaseException as error:  # the functions of other filters must be called nevertheless
                self._fault("defer", error)

    def _fault(self, event: str, error: BaseException) -> None:
        self._context.faults.report(event, error, self.id)
