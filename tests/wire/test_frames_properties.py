"""What holds for the decoder and any bytes."""

from __future__ import annotations

import itertools
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fws.wire.deflate import Agreement, Inflater
from fws.wire.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Decoder, Event, PeerClose, Ping, Pong
from tests.fuzz import checks
from tests.wire.octets import client_frame, feed_pieces, is_terminal, outline

LIMIT = 2000
AGREEMENT = Agreement("", 15, 15, True)

masks = st.binary(min_size=4, max_size=4)
payloads = st.one_of(st.binary(max_size=40), st.integers(100, 700).map(lambda size: b"\x5a" * size))
texts = st.one_of(st.text(max_size=30), st.text(alphabet="aé€𝄞", max_size=200))
codes = st.one_of(st.sampled_from([1000, 1001, 1007, 1014]), st.integers(3000, 4999))


@st.composite
def control_frames(draw: st.DrawFn) -> tuple[bytes, Event]:
    payload = draw(st.binary(max_size=125))
    mask = draw(masks)
    if draw(st.booleans()):
        return client_frame(PING, payload, mask=mask), Ping(payload)
    return client_frame(PONG, payload, mask=mask), Pong(payload)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, list[Event]]:
    """Valid frames of a client, and their events."""
    stream = b""
    events: list[Event] = []
    for _ in range(draw(st.integers(0, 4))):
        message = draw(st.one_of(texts, payloads))
        opcode, payload = (TEXT, message.encode()) if isinstance(message, str) else (BINARY, message)
        rsv = 0
        if draw(st.booleans()):
            rsv = 4
            packer = zlib.compressobj(wbits=-15)
            payload = (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
        cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=3)))
        pieces = [payload[start:end] for start, end in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
        for index, piece in enumerate(pieces):
            for control, event in draw(st.lists(control_frames(), max_size=1)):
                stream += control
                events.append(event)
            last = index == len(pieces) - 1
            stream += client_frame(opcode, piece, fin=last, rsv=rsv, mask=draw(masks))
            opcode, rsv = CONTINUATION, 0
        events.append(message)
    if draw(st.booleans()):
        code, reason = draw(codes), draw(st.text(max_size=30))
        stream += client_frame(CLOSE, code.to_bytes(2) + reason.encode())
        events.append(PeerClose(code, reason))
    return stream, events


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A conversation with some of its bytes replaced, removed or added."""
    stream = bytearray(draw(conversations())[0])
    for _ in range(draw(st.integers(1, 3))):
        position = draw(st.integers(0, len(stream)))
        stream[position : position + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(stream)


# Frames of any first byte, with lengths that are mostly true: these pass the header far more often than noise.
strange = st.lists(
    st.builds(
        lambda first, payload, lie, mask: bytes((first, 0x80 | max(0, len(payload) + lie) & 0x7F)) + mask + payload,
        st.integers(0, 255),
        st.binary(max_size=20),
        st.sampled_from([0, 0, 0, 0, 1, -1, 110]),
        masks,
    ),
    max_size=5,
).map(b"".join)

anything = st.one_of(st.binary(max_size=300), strange, damaged())
cut_positions = st.lists(st.integers(0, 3000), max_size=8)


def new_decoder() -> Decoder:
    return Decoder(LIMIT, inflater=Inflater(AGREEMENT), max_fragments=6)


def cut(stream: bytes, positions: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(position, len(stream)) for position in positions), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(edges)]


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(conversations(), cut_positions)
def test_valid_frames_give_their_events_however_they_are_cut(
    conversation: tuple[bytes, list[Event]], positions: list[int]
) -> None:
    stream, events = conversation
    assert new_decoder().feed(stream) == events
    assert feed_pieces(new_decoder(), cut(stream, positions)) == events


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(anything, cut_positions, st.integers(0, 3))
def test_any_bytes_give_the_same_events_however_they_are_cut(
    stream: bytes, positions: list[int], agreement: int
) -> None:
    assert outline(feed_pieces(new_decoder(), cut(stream, positions))) == outline(new_decoder().feed(stream))
    checks.stream_of_frames(bytes((agreement,)) + stream)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.lists(anything, max_size=4))
def test_no_bytes_raise_and_nothing_follows_the_last_word(pieces: list[bytes]) -> None:
    decoder = new_decoder()
    over = False
    for piece in pieces:
        events = decoder.feed(piece)
        assert not (over and events)
        assert not any(is_terminal(event) for event in events[:-1])
        over = over or bool(events and is_terminal(events[-1]))
