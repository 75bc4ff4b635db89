"""Valid and invalid bytes of clients, for tests of the codec."""

from __future__ import annotations

from collections.abc import Iterable

from fws.wire.frames import Decoder, Event, PeerClose, Violation

MASK = b"\xa1\x5c\x00\x7e"


def client_frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True, mask: bytes = MASK
) -> bytes:
    """One frame as a client writes it; `rsv` is 0 to 7, with RSV1 as 4."""
    length = len(payload)
    bit = 0x80 if masked else 0
    first = bytes(((0x80 if fin else 0) | rsv << 4 | opcode,))
    if length < 126:
        head = first + bytes((bit | length,))
    elif length < 0x10000:
        head = first + bytes((bit | 126,)) + length.to_bytes(2)
    else:
        head = first + bytes((bit | 127,)) + length.to_bytes(8)
    if not masked:
        return head + payload
    return head + mask + bytes(byte ^ mask[index & 3] for index, byte in enumerate(payload))


def header(first: int, length: bytes) -> bytes:
    """A raw frame header: first byte, then length bytes as they are, then the mask."""
    return bytes((first,)) + length + MASK


def feed_pieces(decoder: Decoder, pieces: Iterable[bytes]) -> list[Event]:
    return [event for piece in pieces for event in decoder.feed(piece)]


def outline(events: list[Event]) -> list[object]:
    """Events without the text of a violation, which may depend on how the bytes were cut."""
    return [("violation", event.code) if isinstance(event, Violation) else event for event in events]


def is_terminal(event: Event) -> bool:
    return isinstance(event, PeerClose | Violation)
