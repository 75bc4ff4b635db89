"""Lines of messages, for protocols whose messages have several."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from fws.wire.frames import BINARY, PING, TEXT, Decoder, Violation
from fws.wire.lines import MAX_LINES, Deaf, LineDecoder, lines_of
from tests.wire.octets import client_frame, feed_pieces

LARGEST = 1 << 20
FRAMES = st.lists(
    st.builds(client_frame, st.just(TEXT), st.text(st.characters(codec="utf-8") | st.just("\n")).map(str.encode))
    | st.builds(client_frame, st.just(BINARY), st.binary(max_size=20))
    | st.builds(client_frame, st.just(PING), st.binary(max_size=5))
    | st.binary(max_size=6),
    max_size=6,
).map(b"".join)


@settings(deadline=None)
@given(FRAMES, st.integers(1, 9))
def test_a_line_decoder_is_a_decoder_that_splits(data: bytes, size: int) -> None:
    events = Decoder(LARGEST).feed(data)
    split = [line for event in events for line in (event.split("\n") if isinstance(event, str) else [event])]
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    for found in (LineDecoder(LARGEST).feed(data), feed_pieces(LineDecoder(LARGEST), pieces)):
        assert [str(one) if isinstance(one, Violation) else one for one in found] == [
            str(one) if isinstance(one, Violation) else one for one in split
        ] or [type(one) for one in found] == [type(one) for one in split]


def test_too_many_lines() -> None:
    assert lines_of("\n" * (MAX_LINES - 1)) == [""] * MAX_LINES
    *lines, last = lines_of("\n" * MAX_LINES * 10)
    assert lines == [""] * MAX_LINES
    assert isinstance(last, Violation)


@settings(deadline=None)
@given(st.binary())
def test_a_deaf_decoder_hears_nothing(data: bytes) -> None:
    assert Deaf(LARGEST).feed(data) == []
