"""Formats: how a group of members receives publications. All members that get the same bytes share one object.

A channel encodes each batch once for every format among its members. A client protocol adds a format of its own.
"""

from __future__ import annotations

from base64 import b64encode

from fws.pipeline.publication import Notice, Publication
from fws.wire.encoding import compressed, frame_of, json_bytes, payload_of
from fws.wire.frames import BINARY, TEXT, encode


class Format:
    """Encodes a publication for a group of members.

    Attributes:
        each: whether every member processes each publication by itself, because its endpoint has a `deliver` pipeline.
            Nothing is encoded for such a format.
        positions: whether publications have their position with them.
    """

    __slots__ = ()

    each = False
    positions = False

    def encode(self, publication: Publication, opcode: int, payload: bytes) -> bytes:
        """Return one whole frame of a publication, whose message is `payload`."""
        raise NotImplementedError

    def frame(self, publication: Publication) -> bytes:
        """Return one whole frame of a publication. Raises TypeError for a message that JSON cannot carry."""
        return self.encode(publication, *payload_of(publication.message))


class Plain(Format):
    """Frames without compression."""

    __slots__ = ()

    def encode(self, publication: Publication, opcode: int, payload: bytes) -> bytes:
        return encode(opcode, payload)

    def frame(self, publication: Publication) -> bytes:
        return frame_of(publication.message)


class Compressed(Format):
    """Frames compressed with permessage-deflate (RFC 7692).

    Args:
        bits: the window that the members agreed to.
    """

    __slots__ = ("_bits",)

    def __init__(self, bits: int) -> None:
        self._bits = bits

    def encode(self, publication: Publication, opcode: int, payload: bytes) -> bytes:
        return compressed(opcode, payload, self._bits)


class Positioned(Format):
    """Publications of channels with history as JSON objects with their position. Others are as in another format.

    A message that is not text or JSON is in the field `base64`.
    """

    __slots__ = ("_inner",)

    positions = True

    def __init__(self, inner: Format) -> None:
        self._inner = inner

    def encode(self, publication: Publication, opcode: int, payload: bytes) -> bytes:
        if publication.offset and not isinstance(publication, Notice):
            opcode, payload = TEXT, _with_position(publication, opcode, payload)
        return self._inner.encode(publication, opcode, payload)


def _with_position(publication: Publication, opcode: int, payload: bytes) -> bytes:
    if opcode == BINARY:
        name, value = b"base64", b'"%b"' % b64encode(payload)
    elif isinstance(publication.message, str):
        name, value = b"message", json_bytes(payload.decode())
    else:
        name, value = b"message", payload
    head = json_bytes({"channel": publication.channel, "epoch": publication.epoch, "offset": publication.offset})
    return b'%b,"%b":%b}' % (head[:-1], name, value)


class Each(Format):
    """No common frames: each member processes each publication by itself.

    Args:
        encoding: the format of what its `deliver` pipeline lets through.
    """

    __slots__ = ("_encoding", "positions")

    each = True

    def __init__(self, encoding: Format) -> None:
        self._encoding = encoding
        self.positions = encoding.positions

    def frame(self, publication: Publication) -> bytes:
        return self._encoding.frame(publication)


PLAIN = Plain()
# By window: RFC 7692 allows 8 to 15 bits.
_ENCODINGS: dict[int, Format] = {0: PLAIN} | {bits: Compressed(bits) for bits in range(8, 16)}
_POSITIONED: dict[int, Format] = {bits: Positioned(format) for bits, format in _ENCODINGS.items()}
_EACH: dict[tuple[int, bool], Format] = {(bits, False): Each(format) for bits, format in _ENCODINGS.items()}
_EACH |= {(bits, True): Each(format) for bits, format in _POSITIONED.items()}


def format_of(bits: int, *, positions: bool = False, each: bool = False) -> Format:
    """The shared format of all clients with the same settings.

    Args:
        bits: the window of compression; 0 for none.
        positions: whether publications have their position with them.
        each: whether each client processes each publication by itself.
    """
    if each:
        return _EACH[bits, positions]
    return (_POSITIONED if positions else _ENCODINGS)[bits]
