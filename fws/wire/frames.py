"""The frame codec: bytes in, messages out, and back (RFC 6455 section 5). Pure.

`Decoder` reads what one client sends; `encode`, `ping`, `pong` and `close` write what the server answers. Compression
(RFC 7692) comes from `fws.wire.deflate`.
"""

from __future__ import annotations

import struct
from codecs import utf_8_decode
from io import BytesIO
from typing import TypeAlias

import msgspec

try:
    from websockets.speedups import apply_mask
except ImportError:  # websockets is installed without its compiled part
    from websockets.utils import apply_mask

from fws.base.close_codes import (
    INVALID_DATA,
    NO_STATUS,
    POLICY_VIOLATION,
    PROTOCOL_ERROR,
    TOO_BIG,
    valid_close_code,
)
from fws.base.errors import ProtocolError
from fws.wire.deflate import Inflater
from fws.wire.native import decode

unmask = apply_mask

# Opcodes, RFC 6455 11.8.
CONTINUATION = 0x0
TEXT = 0x1
BINARY = 0x2
CLOSE = 0x8
PING = 0x9
PONG = 0xA

# A message in more frames than this is an attack. Autobahn's largest case (9.3, 9.4) has 65,537 frames, and `ws` 8.21
# chose the same limit.
MAX_FRAGMENTS = 131_072
# Empty fragments carry nothing. Many of them in a row only cost processor time.
MAX_EMPTY_FRAGMENTS = 100

_FIN = 0x80
_RSV = 0x70
_RSV1 = 0x40
_FIN_TEXT = _FIN | TEXT
_FIN_BINARY = _FIN | BINARY
_MAX_CONTROL = 125  # RFC 6455 5.5
_LENGTH16 = struct.Struct("!H")
_LENGTH64 = struct.Struct("!Q")
_HEADER16 = struct.Struct("!BBH")
_HEADER64 = struct.Struct("!BBQ")
_CODE = struct.Struct("!H")


# Creating a Struct takes 70 ns, and a NamedTuple 325 ns. Unlike named tuples, a Ping never equals a Pong.
class Ping(msgspec.Struct, frozen=True, gc=False):
    """The peer asks for a Pong with the same payload (RFC 6455 5.5.2)."""

    payload: bytes


class Pong(msgspec.Struct, frozen=True, gc=False):
    """The peer's answer to a Ping, or an unsolicited sign of life (RFC 6455 5.5.3)."""

    payload: bytes


class PeerClose(msgspec.Struct, frozen=True, gc=False):
    """The peer's Close frame (RFC 6455 5.5.1). `code` is 1005 if it has none; otherwise it may be echoed."""

    code: int
    reason: str


class Violation(msgspec.Struct, frozen=True, gc=False):
    """The peer broke the protocol or a limit. The connection must be failed with this code (RFC 6455 7.1.7)."""

    code: int
    reason: str


# A complete message is a `str` or `bytes`.
Event: TypeAlias = str | bytes | Ping | Pong | PeerClose | Violation


class Decoder:
    """Turns the bytes of one client into events.

    Bytes may be cut anywhere. The events are the same, except that a violation may be found earlier. `PeerClose` and
    `Violation` are final: what follows them is ignored. Text is checked as it arrives, so that an invalid byte is found
    before its frame is complete.

    The decoder holds at most the received bytes of the message in progress, and nothing between messages. It allocates
    no memory for bytes that a header only announces.

    Args:
        max_message: the largest message, in bytes, after inflation. A frame that would exceed it is refused at its
        header.
        inflater: decompresses, if compression was agreed on.
        max_fragments: the largest number of frames in one message.
    """

    __slots__ = (
        "_done",
        "_fin",
        "_inflater",
        "_left",
        "_mask",
        "_max_fragments",
        "_max_message",
        "_message",
        "_rest",
        "_small",
    )

    def __init__(
        self, max_message: int, *, inflater: Inflater | None = None, max_fragments: int = MAX_FRAGMENTS
    ) -> None:
        self._max_message = max_message
        self._max_fragments = max_fragments
        self._inflater = inflater
        # Lengths below this are written in the second byte itself, and are within the limit.
        self._small = min(126, max_message + 1)
        self._rest = b""  # an incomplete header or control frame: at most 130 bytes
        self._message: _Message | None = None
        # The data frame whose payload is arriving:
        self._left = 0
        self._mask = b""
        self._fin = False
        self._done = False

    @property
    def max_message(self) -> int:
        """The largest message. A change applies from the next message on."""
        return self._max_message

    @max_message.setter
    def max_message(self, largest: int) -> None:
        self._max_message = largest
        self._small = min(126, largest + 1)

    @property
    def left(self) -> int:
        """The number of bytes that are missing from the frame in progress; 0 between frames."""
        return self._left

    def feed(self, data: bytes | bytearray | memoryview) -> list[Event]:
        """Read the next bytes of the client.

        Args:
            data: the bytes of one read. The buffer may be reused after the call.

        Returns:
            The events that these bytes complete, in order. No bytes make this function raise.
        """
        if self._done:
            return []
        events: list[Event] = []
        # Two slices of bytes are 150 ns faster than two of a memoryview. This is more than the copy of an ordinary read
        # costs, and a slice of all bytes does not copy.
        stream = bytes(data)
        if self._rest:
            stream = self._rest + stream
            self._rest = b""
        size = len(stream)
        small = self._small
        position = 0
        try:
            if self._left:
                position = self._take(stream, 0, events)
            message = self._message
            while size - position >= 2:
                if decode is not None and message is None:
                    position = decode(stream, position, self._max_message, events)
                    if size - position < 2:
                        break
                first = stream[position]
                length = stream[position + 1] - 0x80
                # The common case: a small message in one complete frame.
                if decode is None and 0 <= length < small and message is None and _FIN_TEXT <= first <= _FIN_BINARY:
                    end = position + 6 + length
                    if end <= size:
                        payload = unmask(stream[position + 6 : end], stream[position + 2 : position + 6])
                        events.append(payload.decode() if first == _FIN_TEXT else payload)
                        position = end
                        continue
                end = self._frame(stream, position, events)
                if end == position:
                    break
                position = end
                message = self._message
                if self._done:
                    return events
            self._rest = stream[position:]
        except UnicodeDecodeError:
            events.append(self._fail(INVALID_DATA, _NOT_UTF8))
        except ProtocolError as error:
            events.append(self._fail(error.code, error.reason))
        return events

    def _frame(self, stream: bytes, position: int, events: list[Event]) -> int:
        """Read any frame at `position`. Return the end of the frame, or the end of the data if it is incomplete.

        Returns `position` itself if the header, or a control frame, is not complete.
        """
        size = len(stream)
        first = stream[position]
        second = stream[position + 1]
        opcode = first & 0x0F
        if second < 0x80:
            raise ProtocolError(PROTOCOL_ERROR, "a frame of a client must be masked")  # RFC 6455 5.1
        if first & _RSV and not (first & _RSV == _RSV1 and self._inflater and opcode in (TEXT, BINARY)):
            raise ProtocolError(PROTOCOL_ERROR, "reserved bits are set")  # RFC 6455 5.2, RFC 7692 6.1
        if opcode >= CLOSE:
            return self._control(stream, position, events)
        if opcode > BINARY:
            raise ProtocolError(PROTOCOL_ERROR, f"opcode {opcode} is reserved")
        # RFC 6455 5.4: fragments of one message follow each other.
        if opcode == CONTINUATION:
            if self._message is None:
                raise ProtocolError(PROTOCOL_ERROR, "continuation without a message to continue")
        elif self._message is not None:
            raise ProtocolError(PROTOCOL_ERROR, "a new message inside an unfinished one")

        # RFC 6455 5.2: the shortest form of a length is the only one, and the top bit is 0.
        length = second & 0x7F
        start = position + 6
        if length == 126:
            if size < position + 4:
                return position
            (length,) = _LENGTH16.unpack_from(stream, position + 2)
            if length < 126:
                raise ProtocolError(PROTOCOL_ERROR, "the length is not in its shortest form")
            start = position + 8
        elif length == 127:
            if size < position + 10:
                return position
            (length,) = _LENGTH64.unpack_from(stream, position + 2)
            if length < 0x10000 or length >> 63:
                raise ProtocolError(PROTOCOL_ERROR, "the length is not in its shortest form or has its top bit set")
            start = position + 14
        if size < start:
            return position
        mask = stream[start - 4 : start]

        message = self._message
        if message is None:
            end = start + length
            if first & _FIN and not first & _RSV1 and length <= self._max_message and end <= size:
                payload = unmask(stream[start:end], mask)
                events.append(payload.decode() if opcode == TEXT else payload)
                return end
            inflater = self._inflater if first & _RSV1 else None
            message = self._message = _Message(opcode == TEXT, inflater, self._max_message)
        message.announce(length, self._max_fragments)
        self._left = length
        self._mask = mask
        self._fin = first >= _FIN
        return self._take(stream, start, events)

    def _take(self, stream: bytes, position: int, events: list[Event]) -> int:
        """Use the part of a data frame's payload that has arrived. Return the end of that part."""
        message = self._message
        assert message is not None  # a frame is in progress only inside a message
        end = min(position + self._left, len(stream))
        taken = end - position
        if taken:
            message.extend(unmask(stream[position:end], self._mask))
            self._left -= taken
            turn = taken & 3
            if turn:
                self._mask = self._mask[turn:] + self._mask[:turn]
        if self._fin and not self._left:
            events.append(message.finish())
            self._message = None
        return end

    def _control(self, stream: bytes, position: int, events: list[Event]) -> int:
        """Read a control frame (RFC 6455 5.5). Return its end, or `position` if it is incomplete."""
        first = stream[position]
        length = stream[position + 1] & 0x7F
        opcode = first & 0x0F
        if opcode > PONG:
            raise ProtocolError(PROTOCOL_ERROR, f"opcode {opcode} is reserved")
        if first < _FIN:
            raise ProtocolError(PROTOCOL_ERROR, "a control frame must not be fragmented")
        if length > _MAX_CONTROL:
            raise ProtocolError(PROTOCOL_ERROR, "a control frame is longer than 125 bytes")
        end = position + 6 + length
        if end > len(stream):
            return position
        payload = unmask(stream[position + 6 : end], stream[position + 2 : position + 6])
        if opcode == PING:
            events.append(Ping(payload))
        elif opcode == PONG:
            events.append(Pong(payload))
        else:
            events.append(_peer_close(payload))
            self._stop()
        return end

    def _fail(self, code: int, reason: str) -> Violation:
        self._stop()
        return Violation(code, reason)

    def _stop(self) -> None:
        """Ignore everything that follows, and free what is held."""
        self._done = True
        self._message = self._inflater = None


class _Message:
    """A message that arrives in parts: its bytes so far, within the limits."""

    __slots__ = ("_data", "_empty", "_frames", "_inflater", "_limit", "_room", "_sequence", "_size", "_text")

    def __init__(self, text: bool, inflater: Inflater | None, limit: int) -> None:
        self._text = text
        self._inflater = inflater
        self._limit = limit
        # The bytes that frames may still announce. Data that cannot be compressed grows a little, by 15 % in zlib's
        # worst case (deflateBound). If it grows by more than a quarter, it has blocks that inflate to nothing.
        self._room = limit if inflater is None else limit + limit // 4 + 64
        self._frames = 0
        self._empty = 0
        self._sequence = b""  # an unfinished UTF-8 sequence: at most 3 bytes
        # Unlike a bytearray it returns its content without a copy, which would be the message twice in memory.
        self._data = BytesIO()
        self._size = 0

    def announce(self, length: int, max_fragments: int) -> None:
        """Count a frame of this message and the length in its header."""
        self._frames += 1
        if self._frames > max_fragments:
            raise ProtocolError(POLICY_VIOLATION, f"a message in more than {max_fragments} frames")
        self._room -= length
        if self._room < 0:
            raise self._too_big()
        if length:
            self._empty = 0
            return
        self._empty += 1
        if self._empty > MAX_EMPTY_FRAGMENTS:
            raise ProtocolError(POLICY_VIOLATION, f"more than {MAX_EMPTY_FRAGMENTS} empty frames in a row")

    def extend(self, piece: bytes) -> None:
        """Add the next bytes of the payload, unmasked."""
        if self._inflater is None:
            self._append(piece)
        else:
            room = self._limit - self._size
            self._append_inflated(self._inflater.inflate(piece, room), room)

    def finish(self) -> str | bytes:
        """End the message and return it."""
        if self._inflater is not None:
            room = self._limit - self._size
            self._append_inflated(self._inflater.finish(room), room)
        # An unfinished sequence fails here.
        data = self._data.getvalue()
        return data.decode() if self._text else data

    def _append_inflated(self, piece: bytes, room: int) -> None:
        self._append(piece)
        if len(piece) > room:
            raise self._too_big()

    def _append(self, piece: bytes) -> None:
        if self._text:
            checked = self._sequence + piece
            # Not final: an unfinished sequence is left over, but an invalid one raises.
            consumed = utf_8_decode(checked, "strict", False)[1]
            self._sequence = sequence = checked[consumed:]
            # CPython waits for the third byte of a surrogate, although two bytes are already invalid.
            if len(sequence) == 2 and b"\xed\xa0" <= sequence < b"\xee":
                raise ProtocolError(INVALID_DATA, _NOT_UTF8)
        self._data.write(piece)
        self._size += len(piece)

    def _too_big(self) -> ProtocolError:
        return ProtocolError(TOO_BIG, f"a message is larger than {self._limit} bytes")


def _peer_close(payload: bytes) -> PeerClose:
    """Read the payload of a Close frame (RFC 6455 5.5.1 and 7.4)."""
    if not payload:
        return PeerClose(NO_STATUS, "")
    if len(payload) == 1:
        raise ProtocolError(PROTOCOL_ERROR, "a Close frame with half of a code")
    (code,) = _CODE.unpack_from(payload)
    try:
        reason = payload[2:].decode()
    except UnicodeDecodeError:
        raise ProtocolError(INVALID_DATA, "the reason of a Close frame is not UTF-8") from None
    if not valid_close_code(code):
        raise ProtocolError(PROTOCOL_ERROR, f"close code {code} is not allowed")
    return PeerClose(code, reason)


_NOT_UTF8 = "text is not UTF-8"

# The two-byte headers of all frames below 126 bytes that a server sends, by first byte and length.
_SHORT = {
    first: tuple(bytes((first, length)) for length in range(126))
    for first in (
        *(_FIN | opcode for opcode in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG)),
        *(_FIN | _RSV1 | opcode for opcode in (TEXT, BINARY)),
    )
}


def encode(opcode: int, payload: bytes, rsv1: bool = False) -> bytes:
    """Write one unfragmented frame of a server: never masked (RFC 6455 5.1).

    Args:
        opcode: one of the opcodes of this module.
        payload: the bytes to send: text as UTF-8, compressed if `rsv1`.
        rsv1: whether the payload is compressed (RFC 7692 6.1).
    """
    length = len(payload)
    first = _FIN | _RSV1 | opcode if rsv1 else _FIN | opcode
    if length < 126:
        return _SHORT[first][length] + payload
    if length < 0x10000:
        return _HEADER16.pack(first, 126, length) + payload
    return _HEADER64.pack(first, 127, length) + payload


def ping(payload: bytes = b"") -> bytes:
    """Write a Ping of at most 125 bytes; ValueError if it is longer."""
    return _write_control(PING, payload)


def pong(payload: bytes) -> bytes:
    """Write the Pong that answers a Ping of this payload; ValueError if it is longer than 125 bytes."""
    return _write_control(PONG, payload)


def close(code: int = NO_STATUS, reason: str = "") -> bytes:
    """Write a Close frame (RFC 6455 5.5.1).

    Args:
        code: 1000-1003, 1007-1014 or 3000-4999; 1005 or 0 for a Close without a code, which has no
            reason either.
        reason: cut to 123 bytes of UTF-8 at a character; a lone surrogate becomes "?".

    Raises:
        ValueError: the code may not be sent.
    """
    if code in (0, NO_STATUS):
        return encode(CLOSE, b"")
    if not valid_close_code(code):
        raise ValueError(f"close code {code} may not be sent: use 1000-1003, 1007-1014 or 3000-4999")
    text = reason.encode("utf-8", "replace")
    if len(text) > _MAX_CONTROL - 2:
        text = text[: _MAX_CONTROL - 2].decode("utf-8", "ignore").encode()
    return encode(CLOSE, _CODE.pack(code) + text)


def _write_control(opcode: int, payload: bytes) -> bytes:
    if len(payload) > _MAX_CONTROL:
        raise ValueError(f"the payload of a control frame has at most 125 bytes, not {len(payload)}")
    return encode(opcode, payload)
