"""Compression of messages: permessage-deflate (RFC 7692), from the offer to the bytes. Pure.

`negotiate` answers a client's `Sec-WebSocket-Extensions`, `Inflater` undoes what the client
compressed, and `deflate` compresses what the server sends.
"""

from __future__ import annotations

import re
import zlib
from io import BytesIO

import msgspec

from fws.base.close_codes import INVALID_DATA
from fws.base.errors import ProtocolError, Refusal

MAX_OFFERS = 16
# A sender may end the deflate stream inside a message and start another (RFC 7692 7.2.3.4). Honest senders do so once
# per message. Each end costs a new zlib object and a copy of the bytes after it.
MAX_STREAM_ENDS = 16

# Level and memory of `deflate`, on zlib 1.2.13 with a JSON message of 13.5 kB: level 1 31 µs for
# 2,180 bytes, level 3 51 µs for 2,154, level 6 (zlib's default) 96 µs for 2,039. Memory level 5
# instead of 8 makes the result at most 2 % larger, and saves most of the set-up for a small message.
_LEVEL = 3
_MEMORY = 5
# zlib finds repetitions in its window except for this many bytes (MIN_LOOKAHEAD).
_LOOKAHEAD = 262
# Messages up to this size are compressed in one call. zlib collects its output in pieces and joins them, which is one
# copy more for a large message.
_PIECE = 64 * 1024
# The end of an empty stored block. RFC 7692 7.2.1 removes it from a message, and 7.2.2 appends it again.
_TAIL = b"\x00\x00\xff\xff"

# RFC 6455 9.1: `extension-token *( ";" token [ "=" ( token | quoted-string ) ] )`, where a quoted
# string must be a token once it is unquoted. White space is possessive, so that matching takes linear time.
_CHARACTER = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_BLANK = r"[ \t]*+"
_NAME = re.compile(rf"{_BLANK}({_CHARACTER}++){_BLANK}")
_PARAMETER = re.compile(
    rf";{_BLANK}({_CHARACTER}++){_BLANK}(?:={_BLANK}(?:({_CHARACTER}++)|\"((?:\\?{_CHARACTER})++)\"){_BLANK})?"
)
_SEPARATOR = re.compile(r"[ \t,]*+")

_EXTENSION = "permessage-deflate"
# 8 to 15 "without leading zeros" (RFC 7692 7.1.2). The text is looked up and not converted to a number.
# The windows that the server compresses with. RFC 7692 7.1.2.1 permits a smaller window than offered. A publication is
# compressed once for each window among its receivers, which is at most three times instead of seven.
_WINDOWS = (9, 12, 15)
_BITS = {str(bits): bits for bits in range(8, 16)}

_Parameters = list[tuple[str, str | None]]


class Agreement(msgspec.Struct, frozen=True):
    """What server and client agreed on for one connection.

    Attributes:
        header: the value of `Sec-WebSocket-Extensions` in the response.
        server_bits: the largest window, as a power of two, that the server may compress with (9 to 15).
        client_bits: the largest window that the client compresses with (8 to 15).
        client_no_context_takeover: whether the client starts each message with an empty window.
    """

    header: str
    server_bits: int
    client_bits: int
    client_no_context_takeover: bool


def negotiate(offers: str | None, *, client_no_context_takeover: bool = False) -> Agreement | None:
    """Answer a client's offer of extensions (RFC 6455 9.1, RFC 7692 5 and 7.1).

    The first acceptable offer of permessage-deflate is accepted. An offer with an unknown, repeated
    or wrong parameter is declined (RFC 7692 7.1), and so is one that limits our window to 8 bits,
    for which zlib cannot write raw deflate. Other extensions are skipped.

    The answer always says `server_no_context_takeover`, which RFC 7692 7.1.1.1 allows without being
    asked: each message that the server sends is compressed on its own, so that one compressed frame
    serves every member of a channel with the same window, and no client costs a compressor.

    Args:
        offers: the `Sec-WebSocket-Extensions` header, repeated ones joined with ", "; None if absent.
        client_no_context_takeover: ask the client to compress each message on its own too, which
            saves up to 40 KiB for each client.

    Returns:
        The agreement, or None if no offer can be accepted.

    Raises:
        Refusal: 400, the header is malformed or has more than 16 offers.
    """
    for name, parameters in _parse(offers or ""):
        if name == _EXTENSION:
            agreement = _accept(parameters, client_no_context_takeover)
            if agreement is not None:
                return agreement
    return None


def _parse(value: str) -> list[tuple[str, _Parameters]]:
    offers: list[tuple[str, _Parameters]] = []
    position = _skip_separators(value, 0)
    while position < len(value):
        name = _NAME.match(value, position)
        if name is None:
            raise _malformed(position)
        if len(offers) == MAX_OFFERS:
            raise Refusal(400, f"Sec-WebSocket-Extensions has more than {MAX_OFFERS} offers", cause="handshake")
        parameters: _Parameters = []
        position = name.end()
        while parameter := _PARAMETER.match(value, position):
            key, token, quoted = parameter.groups()
            parameters.append((key, token if quoted is None else quoted.replace("\\", "")))
            position = parameter.end()
        if position < len(value) and value[position] != ",":
            raise _malformed(position)
        offers.append((name[1], parameters))
        position = _skip_separators(value, position)
    return offers


def _skip_separators(value: str, position: int) -> int:
    """Skip to the next offer. A list may have empty elements (RFC 9110 5.6.1.2)."""
    separator = _SEPARATOR.match(value, position)
    return position if separator is None else separator.end()


def _malformed(position: int) -> Refusal:
    return Refusal(400, f"Sec-WebSocket-Extensions is malformed at character {position + 1}", cause="handshake")


def _accept(parameters: _Parameters, client_no_context_takeover: bool) -> Agreement | None:
    """Accept one offer, or return None. RFC 7692 7.1 defines the values of the parameters."""
    offered = dict(parameters)
    if len(offered) < len(parameters):
        return None
    server_bits = client_bits = 15
    answer = [_EXTENSION, "server_no_context_takeover"]
    for name, value in offered.items():
        if name in ("server_no_context_takeover", "client_no_context_takeover"):
            if value is not None:
                return None
        elif name == "server_max_window_bits":
            offered_bits = _BITS.get(value or "", 0)
            if offered_bits < 9:
                return None
            server_bits = max(bits for bits in _WINDOWS if bits <= offered_bits)
            answer.append(f"{name}={server_bits}")
        elif name == "client_max_window_bits":
            if value is None:  # the client permits a limit, which is not needed
                continue
            client_bits = _BITS.get(value, 0)
            if not client_bits:
                return None
            answer.append(f"{name}={client_bits}")
        else:
            return None
    no_context = client_no_context_takeover or "client_no_context_takeover" in offered
    if no_context:
        answer.append("client_no_context_takeover")
    return Agreement("; ".join(answer), server_bits, client_bits, no_context)


class Inflater:
    """Decompresses the messages of one client piece by piece, within a limit.

    It keeps up to 40 KiB (zlib's state and window) from the first compressed message on, or only
    inside a message when the client agreed to `client_no_context_takeover`.
    """

    __slots__ = ("_bits", "_ends", "_fed", "_no_context", "_stream")

    def __init__(self, agreement: Agreement) -> None:
        # zlib before 1.2.9 treats 8 bits as 9. A larger window reads both.
        self._bits = max(agreement.client_bits, 9)
        self._no_context = agreement.client_no_context_takeover
        self._stream: zlib._Decompress | None = None
        self._fed = False  # whether the stream has received bytes of the present message
        self._ends = 0

    def inflate(self, data: bytes, room: int) -> bytes:
        """Inflate the next piece of a message.

        Args:
            data: compressed bytes, cut anywhere, at least one.
            room: how many bytes the message may still grow by.

        Returns:
            The inflated bytes, at most `room + 1` of them. `room + 1` bytes mean that the message is
            too big: inflation stopped there, and the connection is to be failed.

        Raises:
            ProtocolError: 1007, the bytes are not deflate. RFC 7692 names no code, and `websockets` uses 1002. Here it
            is 1007, "not consistent with the type of the message" (RFC 6455 7.4.1), because the frames are correct, and
            because broken compression mostly shows as invalid text first. The code then does not depend on how the
            reads were cut.
        """
        stream = self._stream
        if stream is None:
            stream = self._stream = zlib.decompressobj(-self._bits)
        self._fed = True
        try:
            inflated = stream.decompress(data, room + 1)
            if stream.eof:
                inflated = self._next_stream(stream, inflated, room)
        except zlib.error as error:
            raise ProtocolError(INVALID_DATA, "compressed data is corrupt") from error
        return inflated

    def finish(self, room: int) -> bytes:
        """End a message; argument, result and errors are those of `inflate`."""
        # zlib compresses an empty message to no bytes at all if it has nothing to flush. Such a message has no tail,
        # and appending one would corrupt the next message.
        inflated = self.inflate(_TAIL, room) if self._fed else b""
        self._fed = False
        self._ends = 0
        if self._no_context:
            self._stream = None
        return inflated

    def _next_stream(self, stream: zlib._Decompress, inflated: bytes, room: int) -> bytes:
        """Continue after a block that is marked as the last one (RFC 7692 7.2.3.4), with an empty window."""
        while stream.eof and len(inflated) <= room:
            self._ends += 1
            if self._ends > MAX_STREAM_ENDS:
                raise ProtocolError(INVALID_DATA, f"the deflate stream ends more than {MAX_STREAM_ENDS} times")
            data = stream.unused_data
            if not data:
                self._stream = None
                self._fed = False
                break
            stream = self._stream = zlib.decompressobj(-self._bits)
            inflated += stream.decompress(data, room + 1 - len(inflated))
        return inflated


def deflate(payload: bytes, bits: int) -> bytes:
    """Compress one message on its own (RFC 7692 7.2.1).

    Args:
        payload: the message, text as UTF-8.
        bits: the receiver's window as a power of two, 9 to 15 (`Agreement.server_bits`).

    Returns:
        The payload of the frame, which must be sent with RSV1.
    """
    # Setting up zlib takes longer than compressing a small message. 121 bytes take 7 µs with a window that just holds
    # them, and 24 µs with a window of 32 KiB.
    bits = max(9, min(bits, (len(payload) + _LOOKAHEAD).bit_length()))
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, -bits, _MEMORY)
    if len(payload) <= _PIECE:
        return stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH)[: -len(_TAIL)]
    deflated = BytesIO()
    with memoryview(payload) as view:
        for start in range(0, len(payload), _PIECE):
            deflated.write(stream.compress(view[start : start + _PIECE]))
    deflated.write(stream.flush(zlib.Z_SYNC_FLUSH)[: -len(_TAIL)])
    return deflated.getvalue()
