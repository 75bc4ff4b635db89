"""Framing: how the payloads of messages become bytes on a connection, by transport.

WebSocket     a text or binary frame, perhaps compressed
SSE           an event of `text/event-stream` (WHATWG HTML, section 9.2)
HTTP stream   a line

The two transports over plain HTTP carry text only. Their response ends with the connection.
"""

from __future__ import annotations

from typing import Final, Literal

from fws.wire.encoding import compressed
from fws.wire.frames import TEXT, encode

Transport = Literal["websocket", "sse", "http_stream"]


class Framing:
    """Frames text payloads."""

    __slots__ = ()

    streams = False
    """Whether it is a transport over plain HTTP."""

    def text(self, payload: bytes) -> bytes:
        """One message, whose payload is UTF-8."""
        raise NotImplementedError


class WebSocketFraming(Framing):
    """A text frame.

    Args:
        bits: the window of permessage-deflate that was agreed on; 0 for no compression.
    """

    __slots__ = ("_bits",)

    def __init__(self, bits: int) -> None:
        self._bits = bits

    def text(self, payload: bytes) -> bytes:
        return compressed(TEXT, payload, self._bits) if self._bits else encode(TEXT, payload)


class EventFraming(Framing):
    """A server-sent event. A payload with line ends has one field `data` for each line."""

    __slots__ = ()

    streams = True

    def text(self, payload: bytes) -> bytes:
        return self.event(payload)

    @staticmethod
    def event(payload: bytes, *, id: str = "", name: str = "") -> bytes:
        """One event.

        Args:
            id: what the client sends as `Last-Event-ID` when it returns; empty to leave the former one.
            name: the type of the event; empty for `message`.
        """
        head = (f"event: {name}\n" if name else "") + (f"id: {id}\n" if id else "")
        if b"\r" in payload:
            payload = payload.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return b"%bdata: %b\n\n" % (head.encode(), payload.replace(b"\n", b"\ndata: "))


class LineFraming(Framing):
    """A line. A payload is JSON, which has no line ends outside of texts; within them they are escaped."""

    __slots__ = ()

    streams = True

    def text(self, payload: bytes) -> bytes:
        return payload + b"\n"


EVENTS: Final = EventFraming()
LINES: Final = LineFraming()
WEBSOCKET: Final = {bits: WebSocketFraming(bits) for bits in (0, *range(8, 16))}
"""By the window of compression: RFC 7692 allows 8 to 15 bits."""
