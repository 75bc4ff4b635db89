"""The protocol `raw` over server-sent events: what a client receives over a WebSocket as messages, it gets as events.

A client cannot send anything. An event of a channel with history has its position as its id, which a browser sends as
`Last-Event-ID` when it returns:

    id: k3J9:7
    data: {"text":"hello"}
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from fws.base.close_codes import REFUSED
from fws.base.errors import Refusal
from fws.channels.formats import Format
from fws.pipeline.publication import Gap, Here, Notice, Position, Publication
from fws.protocols.base import Peer, Renew
from fws.wire.encoding import json_bytes, payload_of
from fws.wire.frames import BINARY
from fws.wire.framing import EVENTS, Framing

# A comment, which keeps proxies from ending the connection.
PING = b": ping\n\n"


class Events(Format):
    """Publications as events with their position.

    Args:
        each: as the attribute.
    """

    __slots__ = ("each",)

    positions = True

    def __init__(self, *, each: bool) -> None:
        self.each = each

    def encode(self, publication: Publication, opcode: int, payload: bytes) -> bytes:
        id = _id_of(publication)
        if isinstance(publication, Here):
            return b"id: %b\n\n" % id.encode()  # an event without data only sets the id
        return EVENTS.event(_text(opcode, payload), id=id)

    def frame(self, publication: Publication) -> bytes:
        return self.encode(publication, *payload_of(publication.message))


_FORMATS = {each: Events(each=each) for each in (False, True)}


class EventSession:
    """As `fws.protocols.base.Session`.

    Args:
        peer: the client.
        last: the `Last-Event-ID` of its request; empty without one.
    """

    __slots__ = ("_last", "_peer", "framing")

    connects = False
    listens = False
    tells = False

    def __init__(self, peer: Peer, last: str) -> None:
        self.framing: Framing = EVENTS
        self._peer = peer
        self._last = last

    def format(self, *, each: bool) -> Format:
        return _FORMATS[each]

    def receive(self, line: str | bytes) -> None:
        """It cannot send anything."""

    def message(self, message: Any) -> bytes:
        return EVENTS.event(_text(*payload_of(message)))

    def ping(self) -> bytes:
        return PING

    def ending(self, code: int, reason: str) -> tuple[int, str]:
        return code, reason

    def refused(self, refusal: Refusal) -> tuple[int, str]:
        return REFUSED + refusal.status, refusal.reason

    def farewell(self, code: int, reason: str) -> bytes:
        return EVENTS.event(json_bytes({"code": code, "reason": reason}), name="close")

    def since(self, channel: str) -> str:
        return self._last

    def joined(self, channel: str, publications: Sequence[Publication], position: Position | None) -> None:
        """It gets what it has missed as any other publications."""

    def left(self, channel: str, reason: str = "", *, expired: bool = False) -> None:
        if reason:
            self._peer.write(self.message({"type": "unsubscribed", "channel": channel, "reason": reason}))

    def gap(self, channel: str, last: Publication) -> bytes:
        return _FORMATS[False].frame(Gap.at(channel, Position(last.epoch, last.offset)))

    def missed(self, channel: str) -> None:
        """The gap is among the publications."""

    def grant(self, claims: dict[str, Any], warn: float, leeway: float, renew: Renew) -> float | None:
        exp: float | None = claims.get("exp")
        return None if exp is None else exp + leeway

    def grant_channel(self, channel: str, claims: dict[str, Any], warn: float) -> float | None:
        return claims.get("exp")

    def set_end(self, wall: float) -> bool:
        return False

    @property
    def profile(self) -> Any:
        return None

    def info(self, channel: str) -> dict[str, Any]:
        return {}

    @property
    def secret(self) -> str:
        return ""

    def end(self) -> None:
        """It keeps nothing."""


def _id_of(publication: Publication) -> str:
    """The position of a publication or notice; empty without one."""
    positioned = publication.epoch and (publication.offset or isinstance(publication, Notice))
    return str(Position(publication.epoch, publication.offset)) if positioned else ""


def _text(opcode: int, payload: bytes) -> bytes:
    """What an event can carry: text. Bytes become `{"base64": "…"}`."""
    return b'{"base64":"%b"}' % b64encode(payload) if opcode == BINARY else payload
