"""A client as the adapter of its protocol sees it (`fws.protocols.base.Peer`): what its commands can do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fws.base.close_codes import REFUSED, TOO_BIG
from fws.base.errors import Close, MessageFillError, Refusal, Reject
from fws.base.fields import about
from fws.base.trace import TraceContext, fields, resumption
from fws.clients.handed import Resumed
from fws.clients.outbox import Outbox
from fws.clients.state import State
from fws.clients.subscriber import Subscriber
from fws.histories.base import Page
from fws.pipeline.call import MESSAGE, Call
from fws.pipeline.outcomes import DROP, MAX_PARTS
from fws.pipeline.publication import Position, check_channel
from fws.presence.base import Present
from fws.protocols.base import Renew
from fws.wire.lines import MAX_LINES, lines_of

logger = logging.getLogger("fws")

# Of clients that gave nothing.
CONNECT = Call("connect")

if TYPE_CHECKING:
    from fws.clients.host import Host
    from fws.compiler.endpoint import Endpoint
    from fws.pipeline.pipeline import Pipeline


class Caller(Subscriber):
    """A client that is admitted, publishes and asks by commands of its protocol.

    Attributes:
        identity: who the client is, as authentication established; None for nobody in particular.
        trace: of its handshake; None if that is not traced.
        asked: the `traceparent` of its present call; empty if that is not traced.
    """

    __slots__ = ("_admitted", "_connect", "_message", "_parts", "asked", "identity", "trace")

    def __init__(self, endpoint: Endpoint, host: Host, outbox: Outbox) -> None:
        super().__init__(endpoint, host, outbox)
        self.identity: dict[str, Any] | None = None
        self.trace: TraceContext | None = None
        self.asked = ""
        self._message = endpoint.message
        # Parts of the present message so far.
        self._parts = 0
        # What it gave to be connected, without its token: conditions may ask about that again.
        self._connect = MESSAGE
        # Whether `connect` has passed, and `disconnect` has not run.
        self._admitted = False

    @property
    def user(self) -> str:
        """Its user; empty for nobody in particular."""
        return str((self.identity or {}).get("user") or "")

    @property
    def secret(self) -> str:
        """The secret that proves that a command over plain HTTP is the client's own; empty over a WebSocket."""
        return "" if self.session is None else self.session.secret

    @property
    def address(self) -> str:
        """The client's IP address; empty on a UNIX socket."""
        raise NotImplementedError

    @property
    def path(self) -> str:
        """The path of its request."""
        raise NotImplementedError

    @property
    def protocol(self) -> str:
        """What it speaks: `raw`, `centrifuge`."""
        return self._endpoint.settings.protocol

    # For adapters.

    def wall(self) -> float:
        return self._context.wall()

    def after(self, seconds: float, call: Callable[[], None]) -> Callable[[], None]:
        # In a greenlet, because ending a subscription runs a pipeline that may block.
        spawn = self._context.scheduler.spawn
        return self._context.timers.at(self._context.clock() + seconds, lambda: spawn(call)).cancel

    def write(self, frame: bytes, *, asked: bool = False) -> bool:
        if asked:
            self.outbox.allow(len(frame))
        if self._hub.pending:
            self._hub.settle(self._member)
        self._hub.traffic.replies += 1
        return self.outbox.write(frame)

    def admit(self, call: Call) -> None:
        self.outbox.hold()
        self.call = call
        self._connect = CONNECT if call.data is None else Call("connect", data=call.data)
        try:
            if self._endpoint.connect.happen(self) is not None:
                raise Reject(401, "A token is needed here.")
            if self._transport is not None:
                self._transport.claim(self.user)
        except BaseException as error:
            for channel in tuple(self.channels):
                self.leave(channel)
            raise self._refusal(error) from None
        finally:
            self.call = MESSAGE
            # From now on, serving may block only where its other pipelines do.
            self._waits = self._endpoint.waits
        self._enter()

    def _enter(self) -> None:
        """The `connect` pipeline has passed."""
        self._admitted = True
        if logger.isEnabledFor(logging.DEBUG):
            extra = about(self, **fields(self.trace))
            logger.debug("client %s at %s connected to %s", self.id, self.address, self.path, extra=extra)
        if not self.closing:
            self._become(State.OPEN)
        self._hub.admit(self._member)

    def _refusal(self, error: BaseException) -> BaseException:
        """Why `connect` did not pass: a Refusal, or the exception that ends the greenlet. Counts failed logins."""
        refusal = self._context.faults.refusal(error, self)
        if isinstance(refusal, Refusal) and refusal.status == 401:
            self._host.admission.login_failed(self.address)
        return refusal

    def answer(self, frame: bytes, *, only: bool = False) -> None:
        if only:
            self.outbox.hold()
        self.outbox.release(frame)
        if self._admitted and not only:
            self._host.channels.admitted(self._member)

    def ask(self, call: Call, message: Any) -> Any:
        self._said = True
        self._parts = 0
        self.asked = ""
        self.call = call
        try:
            return self._message.run(self, message)
        except Refusal:
            raise
        except BaseException as error:
            self._context.faults.settle("message", error, self, stops=self._waits)
            if isinstance(error, Close):
                return DROP
            if isinstance(error, MessageFillError):
                raise Reject(400, "The message lacks something that is needed here.") from None
            raise Reject(500, "A filter failed.") from None
        finally:
            self.call = MESSAGE

    def _resume_message(self, resumed: Resumed) -> None:
        if self.closing and self._life is not State.LEAVING:
            return
        self._parts = 0
        self.call = resumed.call
        try:
            resumed.rest.run(self, resumed.message)
        except BaseException as error:
            self._raised("message", error)
        finally:
            self.call = MESSAGE

    def _raised(self, event: str, error: BaseException) -> None:
        """A filter raised: the event ends. The client stays connected unless the filter raised `Close`."""
        self._context.faults.settle(event, error, self, stops=self._waits)

    def check_publication(self, channel: str, message: Any) -> None:
        try:
            check_channel(channel)
        except ValueError as error:
            raise Reject(400, f"Nobody can publish to this channel: {error}.") from None
        self._host.channels.check_publication(self, channel, message)

    def publish(self, channel: str, message: Any) -> None:
        self._host.channels.publish_for(self, channel, message, self.asked)

    def ask_for(self, channel: str, since: str, call: Call) -> None:
        self.subscribe(channel, since=since, call=call)

    def confirm(self, channel: str, call: Call) -> None:
        self._run_subscribe(channel, call)

    def page(
        self, channel: str, since: Position | None, limit: int, reverse: bool, done: Callable[[Page | None], None]
    ) -> bool:
        if not self._host.channels.keeps(channel):
            return False
        self._host.channels.page(channel, since=since, limit=limit, reverse=reverse, done=done)
        return True

    def who(self, channel: str, done: Callable[[Sequence[Present] | None], None]) -> bool:
        return self._host.channels.who(channel, done)

    def heard(self) -> None:
        self._answered()

    def note(self, code: int, reason: str, what: str) -> None:
        asked = f"{what}, connected to {self.path}" if what else f"connected to {self.path}"
        self._context.refusals.log(code, reason, self.address, asked, self.id)

    def fail(self, code: int, reason: str) -> None:
        if not self.closing:
            self._context.metrics.count("protocol_errors", label=code)
            self._context.refusals.log(400, reason, self.address, f"connected to {self.path}", self.id)
            self.close(code, reason)

    def hear(self, text: str) -> None:
        """Serve commands that have arrived over plain HTTP, within the limits of the connection. Called anywhere."""
        transport = self._transport
        if transport is None or self.closing:
            return
        if self._backlog is not None and len(self._backlog) > MAX_LINES:
            self.refuse(Reject(429, "Too many commands wait."))
            return
        size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
        if size > self._endpoint.bounds.max_message:
            self.fail(TOO_BIG, f"a message has at most {self._endpoint.bounds.max_message} bytes")
            return
        lines = lines_of(text)
        self._bytes_left -= len(text)
        self._messages_left -= len(lines)
        self.take(lines)
        if self._bytes_left < 0 or self._messages_left < 0:
            self._limit_rate(transport)

    def again(self, lines: Sequence[str]) -> None:
        """Serve lines that have arrived before, but could not be served yet. Called anywhere."""
        self.take(lines, first=True)

    def refuse(self, refusal: Refusal) -> None:
        """End the connection as `Reject` does in `connect`: after the 101, 4000 plus the status is the close code.

        The refusal is counted and its reason is logged. Never blocks.
        """
        if not self.closing:
            self._context.refusals.record(refusal, self.address, f"connected to {self.path}", self.id)
            session = self.session
            self.close(*((REFUSED + refusal.status, refusal.reason) if session is None else session.refused(refusal)))

    def expire(self, reason: str) -> None:
        """End the connection because its token has expired. The client may return with a new one. Never blocks."""
        self._context.metrics.count("logins_expired")
        refusal = Refusal(401, reason, cause="expired")
        self.close(*((REFUSED + 401, reason) if self.session is None else self.session.refused(refusal)))

    # For pipelines.

    def take_part(self) -> None:
        """Called by the pipeline for each message that a filter makes of the present one.

        Raises:
            Close: 1009, there are more than `MAX_PARTS`.
        """
        self._parts += 1
        if self._parts > MAX_PARTS:
            self._context.metrics.count("parts_over_limit")
            raise Close(TOO_BIG, f"one message becomes at most {MAX_PARTS}")

    def resume(self, rest: Pipeline) -> Callable[[Any], None]:
        """Called by the pipeline for a filter that keeps messages back.

        Returns:
            A function that lets a message flow through `rest` in its turn, as a part of the present call. It never
            blocks. Nothing happens if the client is gone.
        """
        call, rest = self.call, resumption(rest)
        return lambda message: self.take([Resumed(rest, message, call)])

    # For filters that verify tokens.

    def grant(self, claims: dict[str, Any], warn: float, leeway: float, renew: Renew) -> float | None:
        """A token of the connection is valid.

        Args:
            claims: what the token says.
            warn: seconds before the end at which the client should have a new token.
            leeway: seconds for which it is accepted after its end.
            renew: verifies a new token, and calls its second argument with the refusal, or None.

        Returns:
            When the filter has to end the connection, in Unix time; None for never.

        Raises:
            Denied: the token is for something else.
        """
        if self.session is not None:
            return self.session.grant(claims, warn, leeway, renew)
        exp: float | None = claims.get("exp")
        return None if exp is None else exp + leeway

    def set_end(self, wall: float) -> bool:
        """Let the connection end at a Unix time, instead of at the end of its token; 0 for no time.

        Returns:
            Whether the client's protocol sees to it.
        """
        return self.session is not None and self.session.set_end(wall)

    def grant_channel(self, channel: str, claims: dict[str, Any], warn: float) -> float | None:
        """The same for a token of a channel that the client requests."""
        return claims.get("exp") if self.session is None else self.session.grant_channel(channel, claims, warn)

    @property
    def profile(self) -> Any:
        """What its token shows to others; None for nothing."""
        return None if self.session is None else self.session.profile

    def info(self, channel: str) -> dict[str, Any]:
        """What its token shows to others in a channel."""
        return {} if self.session is None else self.session.info(channel)
