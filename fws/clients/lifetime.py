"""The life of a connection: its state, the closing handshake, pings, and what ends it.

The sweeper calls `keep_alive` for every client twice a second. A ping is sent every `ping_interval`. A peer that does
not answer it within `ping_timeout` is considered gone. A client that sends no message for `idle_timeout` is closed. A
closing handshake takes at most `close_timeout`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fws.base.close_codes import ABNORMAL, NO_STATUS, NORMAL, POLICY_VIOLATION, TRY_AGAIN_LATER
from fws.base.errors import Close
from fws.clients.connection import Connection
from fws.clients.outbox import Outbox
from fws.clients.state import State, can_become
from fws.protocols.base import Session
from fws.wire.frames import PeerClose, Violation, close, ping

if TYPE_CHECKING:
    from fws.clients.host import Host
    from fws.clients.transport import Transport


logger = logging.getLogger("fws")


class Lifetime(Connection):
    """A connection that is opened, kept alive and closed as RFC 6455 requires.

    Attributes:
        close_code, close_reason: how the connection ended; 1006 when TCP ended without a Close frame.
        session: the adapter that speaks for the client; None in the protocol `raw` over a WebSocket.
    """

    __slots__ = (
        "_deadline",
        "_life",
        "_next_ping",
        "_pinged",
        "_said",
        "_spoke",
        "close_code",
        "close_reason",
        "session",
    )

    def __init__(self, host: Host, outbox: Outbox, *, filters_data: bool, waits: bool) -> None:
        super().__init__(host, outbox, filters_data=filters_data, waits=waits)
        self._life = State.CONNECTING
        self.session: Session | None = None
        self.close_code = ABNORMAL
        self.close_reason = ""
        # When the closing handshake must be over; when the next ping is due; when the unanswered ping was sent.
        self._deadline = 0.0
        self._next_ping = 0.0
        self._pinged = 0.0
        # Whether a message has arrived since the sweeper last looked, and when the sweeper last saw that.
        self._said = False
        self._spoke = 0.0

    def _become(self, state: State) -> None:
        """Change the state. `closing` is kept as an attribute of its own, because each message looks at it."""
        if self._life is not state:
            if not can_become(self._life, state):
                raise RuntimeError(f"a client that is {self._life.name} cannot become {state.name}")
            self._life = state
            self.closing = state in (State.LEAVING, State.CLOSING, State.CLOSED)

    # The closing handshake.

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Begin the closing handshake. Earlier messages are sent before the Close, and nothing after it. Never blocks.

        The TCP connection ends within `close_timeout`, whatever the peer does.

        Raises:
            ValueError: the code may not be sent.
            TypeError: the code is not an integer, or the reason is not a text.
        """
        end = Close(code, reason)
        if not self.closing:
            self._settle()
            self._end(end.code, end.reason)

    def dismiss(self, code: int, reason: str) -> None:
        """Begin the closing handshake so that as little as possible of what the peer sends is lost. Never blocks.

        What has been read is served first, and its answers precede the Close. In the protocol `raw`, messages that the
        peer has sent before it learns of the Close are served as well, but nothing can be sent to it any more. In
        other protocols they are not served: the missing reply tells the peer so.
        """
        if self._backlog is not None:
            self.take([Close(code, reason)])
        else:
            self._dismissed(Close(code, reason))

    def _dismissed(self, end: Close) -> None:
        if not self.closing:
            self._settle()
            listens = self.session is None and self._life is State.OPEN
            self._end(end.code, end.reason, state=State.LEAVING if listens else State.CLOSING)

    def _end(self, code: int, reason: str, *, only: bool = False, state: State = State.CLOSING) -> None:
        """Send the last frame; with `only`, instead of what waits."""
        session = self.session
        if session is not None:
            code, reason = session.ending(code, reason)
        streams = session is not None and session.framing.streams
        last = session.farewell(code, reason) if session is not None and streams else close(code, reason)
        self._begin_close(code, reason, state)
        self.outbox.seal(last, only=only)
        if streams:
            self.outbox.end()  # the peer has no Close frame to answer with

    def _settle(self) -> None:
        """Send the client what has been published to it. Its Close must come after that."""
        raise NotImplementedError

    def _peer_closed(self, event: PeerClose) -> None:
        if not self.closing:
            self._settle()
            self._begin_close(event.code, event.reason)
            self.outbox.seal(close(event.code, event.reason if event.code != NO_STATUS else ""))
        elif self._life is State.LEAVING:
            self._become(State.CLOSING)
        self.outbox.end()

    def _violated(self, event: Violation) -> None:
        """Fail the connection (RFC 6455 7.1.7): send the reason, and do not wait for the peer's Close."""
        self._context.metrics.count("protocol_errors", label=event.code)
        self._tell("broke the protocol", event.code, event.reason)
        if not self.closing:
            self._settle()
            self._end(event.code, event.reason)
        self.outbox.end()

    def overflow(self) -> None:
        """The outbox is full: close the slow consumer, so that nobody waits for it."""
        if self.closing:
            return
        self._context.metrics.count("slow_consumers")
        self._tell("is too slow", TRY_AGAIN_LATER, "more than max_outbox bytes wait for it")
        self._end(TRY_AGAIN_LATER, "too slow", only=True)

    def _tell(self, what: str, code: int, why: str) -> None:
        """Log at the level `debug` what the client has done wrong."""
        if logger.isEnabledFor(logging.DEBUG):
            extra = {"client": self.id, "code": code, "cause": self.id}
            logger.debug("client %s %s: %d %s", self.id, what, code, why, extra=extra)

    def skipped(self, count: int) -> None:
        """Publications were dropped, as their channel says, because the client does not keep up."""
        self._context.metrics.count("publications_skipped", count)

    def _begin_close(self, code: int, reason: str, state: State = State.CLOSING) -> None:
        self._become(state)
        self.close_code, self.close_reason = code, reason
        # At least two rounds of the sweeper, so that the Close frame has time to be sent.
        timeout = max(1.0, self._host.limits.close_timeout)
        self._deadline = self._context.clock() + timeout

    def kill(self) -> None:
        """As `Connection.kill`."""
        if not self.closing:
            self._become(State.CLOSING)
        super().kill()

    # Pings and time limits.

    def _start_pings(self) -> None:
        """The 101 has been sent: begin to send pings."""
        self._spoke = self._context.clock()
        self._next_ping = self._spoke + self._host.limits.ping_interval

    def keep_alive(self, now: float, tick: float) -> None:
        """Called by the sweeper: send a ping, notice a dead peer, and end a closing handshake that takes too long.

        Args:
            now: the clock's seconds.
            tick: seconds until the next call. A deadline before that counts as passed.
        """
        transport = self._transport
        if transport is None:
            return
        if self.closing:
            if now + tick >= self._deadline or (self._ended and not self.outbox.waits):
                self.end(transport)
            return
        limits = self._host.limits
        if limits.idle_timeout is not None and self._can_speak:
            if self._said or self.busy:
                self._said, self._spoke = False, now
            elif now - self._spoke >= limits.idle_timeout:
                self._context.metrics.count("idle_timeouts")
                self.close(POLICY_VIOLATION, "no message for too long")
                return
        if self._pinged and self._acknowledged(transport):
            self._answered()
        if self._pinged:
            if self.busy or self.made_progress(transport):
                self._pinged = now
            elif now - self._pinged >= limits.ping_timeout:
                self._context.metrics.count("ping_timeouts")
                if self.session is None or self.session.framing.streams:
                    self._begin_close(ABNORMAL, "no answer to a ping")
                    transport.abort()
                else:
                    # The peer may be there, and not know that its protocol has pings of its own.
                    self._end(ABNORMAL, "no answer to a ping")
        elif now >= self._next_ping:
            self._pinged = now
            self.made_progress(transport)
            self.outbox.write(ping(b"") if self.session is None else self.session.ping())

    def _acknowledged(self, transport: Transport) -> bool:
        """Over plain HTTP nobody answers a ping, but the peer's machine acknowledges what it has received."""
        streams = self.session is not None and self.session.framing.streams
        return streams and not self.outbox.waits and not transport.arrived()

    @property
    def _can_speak(self) -> bool:
        return self.session is None or self.session.listens

    def _answered(self) -> None:
        if self._pinged:
            self._next_ping = self._pinged + self._host.limits.ping_interval
            self._pinged = 0.0
