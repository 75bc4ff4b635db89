"""What a client is told: the base of its session, which knows how a line becomes bytes."""

from __future__ import annotations

from typing import Any

from fws.base.errors import Refusal
from fws.protocols.base import Peer
from fws.protocols.centrifuge import codes, replies
from fws.wire.framing import WEBSOCKET, Framing


class Voice:
    """Speaks to one client.

    Args:
        peer: the client.

    Attributes:
        framing: how a line becomes bytes.
    """

    __slots__ = ("_peer", "framing")

    def __init__(self, peer: Peer) -> None:
        self.framing: Framing = WEBSOCKET[0]
        self._peer = peer

    def message(self, message: Any) -> bytes:
        """As `Session.message`."""
        return self.framing.text(replies.message_push(message))

    def ping(self) -> bytes:
        """As `Session.ping`."""
        return self.framing.text(replies.PING)

    def ending(self, code: int, reason: str) -> tuple[int, str]:
        """As `Session.ending`."""
        return codes.disconnect_of(code, reason)

    def refused(self, refusal: Refusal) -> tuple[int, str]:
        """As `Session.refused`. SDKs return at once, later, with a new token, or not at all, depending on the code."""
        return codes.end_of(refusal)

    def farewell(self, code: int, reason: str) -> bytes:
        """As `Session.farewell`."""
        return self.framing.text(replies.disconnect_push(codes.Disconnect(code, reason)))

    def _write(self, line: bytes) -> None:
        self._peer.write(self.framing.text(line))

    def _reply(self, id: int, name: str, result: Any) -> None:
        self._write(replies.reply(id, name, result))

    def _show(self, id: int, name: str, result: Any) -> None:
        """Answer a command with something that may be large."""
        self._peer.write(self.framing.text(replies.reply(id, name, result)), asked=True)

    def _fail(self, id: int, error: codes.Error, what: str = "") -> None:
        """Answer a command with an error, and say so in the log.

        Args:
            id: of the command; 0 for one that gets no answer.
            what: the client wanted.
        """
        self._peer.note(error.code, error.message, what)
        if id:
            self._write(replies.failure(id, error))

    def _end(self, disconnect: codes.Disconnect, why: str) -> None:
        """The client has broken the protocol."""
        self._peer.fail(disconnect.code, why)
