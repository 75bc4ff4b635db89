"""The other end of a client's connection: a transport without a socket, which keeps what arrives as messages."""

from __future__ import annotations

import struct
from collections.abc import Callable

from fws.base.close_codes import NO_STATUS
from fws.wire.frames import BINARY, CLOSE, PING, TEXT, close, encode
from fws.wire.frames import pong as pong_frame

# A client masks its frames (RFC 6455 5.3). With this mask the payload stays as it is.
_MASKED = 0x80
_NO_MASK = bytes(4)


class Received:
    """What arrived at a client: a message, or the end of the connection.

    Attributes:
        message: the message; None for the end.
        code, reason: of the end; 1006 if there was no Close frame, and the HTTP status of a refused connection.
        refused: whether the connection was refused.
    """

    __slots__ = ("code", "message", "reason", "refused")

    def __init__(self, message: str | bytes | None, code: int = 0, reason: str = "", *, refused: bool = False) -> None:
        self.message = message
        self.code = code
        self.reason = reason
        self.refused = refused


class Peer:
    """The peer of one client, as the client's transport. Frames are decoded as they are written.

    It answers pings and the Close frame, as a browser does, and the pings of the protocol centrifuge, as SDKs do.

    Attributes:
        answers: the text that is a ping, and its answer; None where a protocol has no pings of its own.
        received: what has arrived, in order; whoever reads it clears it.
        ended: whether the connection is over.
    """

    def __init__(self) -> None:
        self.fd = -1
        self.waits = False
        self.received: list[Received] = []
        self.ended = False
        self._written = bytearray()
        self._arrived = bytearray()
        self._hung_up = False
        self._readable: Callable[[], None] | None = None
        self._closing = False
        self.answers: str | None = None

    # What the peer does.

    def send(self, data: bytes | memoryview, /) -> int:
        """Called by the client's outbox: the server writes."""
        if self.ended:
            raise ConnectionResetError
        self._written += data
        self._decode()
        return len(data)

    def sendmsg(self, pieces: list[bytes | memoryview], /) -> int:
        return self.send(b"".join(pieces))

    def say(self, message: str | bytes) -> None:
        """Send a message to the server."""
        if isinstance(message, str):
            self._put(encode(TEXT, message.encode("utf-8", "surrogatepass")))
        else:
            self._put(encode(BINARY, message))

    def close_with(self, code: int, reason: str) -> None:
        """Begin the closing handshake; with 1006 the connection just ends."""
        if code != 1006:
            self._closing = True
            self._put(close(code, reason))
        else:
            self._hung_up = True

    def _put(self, frame: bytes) -> None:
        head = 2 + {126: 2, 127: 8}.get(frame[1], 0)
        self._arrived += bytes((frame[0], frame[1] | _MASKED)) + frame[2:head] + _NO_MASK + frame[head:]

    def _decode(self) -> None:
        """Take the complete frames out of what was written. The server sends each message as one plain frame."""
        data = self._written
        while len(data) >= 2:
            length, start = data[1], 2
            if length == 126:
                length, start = struct.unpack_from("!H", data, 2)[0] if len(data) >= 4 else 1 << 62, 4
            elif length == 127:
                length, start = struct.unpack_from("!Q", data, 2)[0] if len(data) >= 10 else 1 << 62, 10
            if len(data) < start + length:
                return
            opcode, payload = data[0] & 0x0F, bytes(data[start : start + length])
            del data[: start + length]
            self._take(opcode, payload)

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            text = payload.decode("utf-8", "replace")
            if text == self.answers:
                self.say(text)
            else:
                self.received.append(Received(text))
        elif opcode == BINARY:
            self.received.append(Received(payload))
        elif opcode == PING:
            self._put(pong_frame(payload))
        elif opcode == CLOSE:
            code = int.from_bytes(payload[:2], "big") if payload else NO_STATUS
            if not self._closing:
                self._closing = True
                self.received.append(Received(None, code, payload[2:].decode("utf-8", "replace")))
                self._put(close(code) if payload else close())
            self._hung_up = True

    # What the server's side of the transport does.

    def arrived(self) -> int:
        return 0

    def when_writable(self, callback: Callable[[], None]) -> None:
        pass

    def stop_writing(self) -> None:
        pass

    def shutdown(self) -> None:
        self._hung_up = True

    @property
    def readable(self) -> bool:
        """Whether the server has something to read, and reads."""
        return self._readable is not None and bool(self._arrived or self._hung_up)

    def poll(self) -> bool:
        """In the loop: let the server read. Returns whether there was anything."""
        if self.readable and self._readable is not None:
            self._readable()
            return True
        return False

    def receive(self, most: int) -> bytes | None:
        data = bytes(self._arrived[:most])
        del self._arrived[:most]
        return data if data or self._hung_up else None

    def start_reading(self, callback: Callable[[], None]) -> None:
        self._readable = callback

    def stop_reading(self) -> None:
        self._readable = None

    def claim(self, user: str) -> None:
        pass

    def abort(self) -> None:
        if not self._closing and not self.ended:
            self._closing = True
            self.received.append(Received(None, 1006))
        self._hung_up = True

    def close(self) -> None:
        self.ended = True
        self._readable = None
