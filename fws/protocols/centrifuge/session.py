"""One client of the protocol: what it has said and been told.

The life of a session, from the first line:

    NEW ── connect ──> CONNECTING ── every channel that the pipeline has joined is known ──> OPEN

Commands that arrive while it is CONNECTING wait. A subscription is answered when its channel is known, which takes a
moment if the history is in Redis. What is asked of a history or of presence is answered later as well, so that replies
may come in another order than their commands.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from typing import Any

from fws.base.errors import Refusal, Reject
from fws.channels.formats import Format
from fws.pipeline.call import Call
from fws.protocols.base import Peer
from fws.protocols.centrifuge import codes, commands, replies
from fws.protocols.centrifuge.calls import Calls
from fws.protocols.centrifuge.format import format_of
from fws.protocols.centrifuge.subscriptions import PATIENCE, position_of
from fws.protocols.centrifuge.tokens import VERSION

# Commands that may wait while the client is connecting, and their characters. SDKs send all subscriptions together with
# `connect`.
MOST_WAITING = 2000
MOST_CHARACTERS = 1024**2


class State(enum.Enum):
    """Where a session is in its life."""

    NEW = "the client has not sent `connect`"
    CONNECTING = "its `connect` pipeline runs, or channels that it has joined are not known yet"
    OPEN = "the client has its reply"


class CentrifugeSession(Calls):
    """As `fws.protocols.base.Session`.

    Args:
        peer: the client.
        ping: seconds between two pings.
        timeout: seconds that the client has to send `connect`.
        identifies: gives the session's secret and the id of the node, which a client over plain HTTP sends with its
            commands; None for a client over a WebSocket.
    """

    __slots__ = ("_cancel", "_id", "_identifies", "_ping", "_timeout", "_waiting", "_waiting_size", "secret", "state")

    connects = True
    listens = True
    tells = True

    def __init__(
        self, peer: Peer, ping: float, timeout: float, identifies: Callable[[], tuple[str, str]] | None = None
    ) -> None:
        super().__init__(peer)
        self.state = State.NEW
        self.secret = ""
        self._ping = ping
        self._timeout = timeout
        self._identifies = identifies
        self._cancel: Callable[[], None] | None = peer.after(timeout, self._is_stale)
        # Of `connect`.
        self._id = 0
        self._waiting: deque[str] | None = None
        self._waiting_size = 0

    def format(self, *, each: bool) -> Format:
        return format_of(self.framing, each=each)

    # What the client says.

    def receive(self, line: str | bytes) -> None:
        """As `Session.receive`."""
        if isinstance(line, bytes):
            self._end(codes.NOT_JSON, "this server speaks JSON: use the client for JSON, not the one for Protobuf")
            return
        self._receive(line)

    def _receive(self, text: str) -> None:
        if self.state is State.CONNECTING:
            self._wait(text)
            return
        if text == "{}":
            self._peer.heard()
            return
        if not text.strip():
            return  # a line feed at the end
        try:
            command = commands.parse(text)
        except (ValueError, RecursionError) as error:
            self._end(codes.MALFORMED, f"a command cannot be read: {error}"[:100])
            return
        name = command.name
        if not name:
            if command.id:
                self._fail(command.id, codes.METHOD_NOT_FOUND)
            else:
                self._peer.heard()
        elif not command.id and name != "send":
            self._end(codes.MALFORMED, f"{name} needs an id")
        elif (name == "connect") is not (self.state is State.NEW):
            self._end(codes.MALFORMED, "the first command, and only the first, is connect")
        else:
            self._serve(command, name)

    def _serve(self, command: commands.Command, name: str) -> None:
        try:
            _SERVE[name](self, command.id, getattr(command, name))
        except Refusal as refusal:
            self._fail(command.id, codes.error_of(refusal), command.what)
        except Exception:
            # It is a fault of a filter, which is logged where it is caught. The client would wait for its answer.
            self._fail(command.id, codes.INTERNAL, command.what)
            raise

    def _wait(self, text: str) -> None:
        if self._waiting is None:
            self._waiting = deque()
        self._waiting_size += len(text)
        if len(self._waiting) >= MOST_WAITING or self._waiting_size > MOST_CHARACTERS:
            self._end(codes.TOO_FAST, "too many commands before the connection is open")
        else:
            self._waiting.append(text)

    # `connect`.

    def _connect(self, id: int, request: commands.Connect) -> None:
        self.state, self._connecting = State.CONNECTING, True
        self._stop_waiting()
        self._cancel = self._peer.after(self._timeout, self._is_late)
        self._id = id
        self._subscriptions = {}
        self._positions = {name: position_of(sub) for name, sub in request.subs.items() if sub.recover}
        try:
            self._peer.admit(Call("connect", data=request.data, token=request.token))
        except Refusal as refusal:
            self._refuse(refusal)
            return
        finally:
            self._connecting = False
            self._stop_waiting()
        self._positions = {}
        if self._wanted:
            self._cancel = self._peer.after(PATIENCE, self._is_late)
        else:
            self._open()

    def _refuse(self, refusal: Refusal) -> None:
        """The client may not connect.

        SDKs try again after an error that is temporary, and with a new token after one about an expired token. Anything
        else is told by the code of the disconnection alone, as Centrifugo does it: SDKs would report the error instead.
        """
        error = codes.error_of(refusal)
        again = error.temporary or error is codes.TOKEN_EXPIRED
        self._peer.answer(self.framing.text(replies.failure(self._id, error)) if again else b"", only=True)
        self._peer.refuse(refusal)

    def _known(self) -> None:
        ready = self.state is State.CONNECTING and not self._wanted and not self._connecting
        if ready and not self._peer.closing:  # it may have been refused because this took too long
            self._open()

    def _open(self) -> None:
        """Everything that `connect` is answered with is known."""
        self.state = State.OPEN
        self._stop_waiting()
        subscriptions, self._subscriptions = self._subscriptions or {}, None
        self.secret, node = self._identifies() if self._identifies is not None else ("", "")
        expires, ttl = self._left("")
        result = replies.Connected(
            client=self._peer.id,
            version=VERSION,
            expires=expires,
            ttl=ttl,
            subs=subscriptions,
            ping=max(1, round(self._ping)),
            pong=not self.framing.streams,
            session=self.secret,
            node=node,
        )
        self._peer.answer(self.framing.text(replies.reply(self._id, "connect", result)))
        waiting, self._waiting = self._waiting, None
        if waiting:
            # Not here, because it is not known whether filters may block now.
            self._peer.again(waiting)

    def _is_stale(self) -> None:
        if self.state is State.NEW:
            self._end(codes.STALE, "no connect command in time")

    def _is_late(self) -> None:
        if self.state is State.CONNECTING:
            self._refuse(Reject(503, "The server took too long to decide."))

    def _stop_waiting(self) -> None:
        if self._cancel is not None:
            self._cancel()
            self._cancel = None

    # The end.

    def end(self) -> None:
        self._stop_waiting()
        self._end_at(None)
        self._waiting = None
        self._wanted.clear()


_SERVE: dict[str, Callable[[CentrifugeSession, int, Any], None]] = {
    "connect": CentrifugeSession._connect,
    "subscribe": CentrifugeSession._subscribe,
    "unsubscribe": CentrifugeSession._unsubscribe,
    "publish": CentrifugeSession._publish,
    "presence": CentrifugeSession._presence,
    "presence_stats": CentrifugeSession._presence_stats,
    "history": CentrifugeSession._history,
    "ping": CentrifugeSession._served_ping,
    "send": CentrifugeSession._send,
    "rpc": CentrifugeSession._rpc,
    "refresh": CentrifugeSession._refresh,
    "sub_refresh": CentrifugeSession._sub_refresh,
}
