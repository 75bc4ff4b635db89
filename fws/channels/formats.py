"""Formats: how a group of members receives publications. All members that get the same bytes share one object.

A channel encodes each batch once for every format among its members. A client protocol adds a format of its own.
"""

from __future__ import annotations

from fws.pipeline.publication import Publication
from fws.wire.encoding import compressed
from fws.wire.frames import encode


class Format:
    """Encodes a publication for a group of members.

    Attributes:
        each: whether every member processes each publication by itself, because its endpoint has a `deliver` pipeline.
            Nothing is encoded for such a format.
    """

    __slots__ = ()

    each = False

    def encode(self, publication: Publication, opcode: int, payload: bytes) -> bytes:
        """Return one whole frame of a publication, whose message is `payload`."""
        raise NotImplementedError


class Plain(Format):
    """Frames without compression."""

    __slots__ = ()

    def encode(self, publication: Publication, opcode: int, payload: bytes) -> bytes:
        return encode(opcode, payload)


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


class Each(Format):
    """No frames: each member processes each publication by itself."""

    __slots__ = ()

    each = True


PLAIN = Plain()
EACH = Each()
# By window: RFC 7692 allows 8 to 15 bits.
_COMPRESSED = {bits: Compressed(bits) for bits in range(8, 16)}


def format_of(bits: int) -> Format:
    """Return the shared format for frames that are compressed with this window, or plain (0)."""
    return _COMPRESSED[bits] if bits else PLAIN
