"""RFC 6455 for a server, case by case: the subjects of Autobahn's groups 1 to 7 and 9, and what these do not test."""

from __future__ import annotations

import gc
import itertools
import time
import tracemalloc
from collections.abc import Callable

import pytest
from websockets.utils import apply_mask

from fws.wire import frames
from fws.wire.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MAX_EMPTY_FRAGMENTS,
    PING,
    PONG,
    TEXT,
    Decoder,
    Event,
    PeerClose,
    Ping,
    Pong,
    Violation,
    close,
    encode,
    ping,
    pong,
    unmask,
)
from tests.wire.octets import MASK, client_frame, feed_pieces, header, outline

LIMIT = 100_000
TEXTS = ("", "a", "x" * 125, "x" * 126, "x" * 127, "héllo wörld", "𝄞" * 31, "κόσμε" * 20, "x" * 65_535, "x" * 65_536)


def close_payload(code: int, reason: bytes = b"") -> bytes:
    return code.to_bytes(2) + reason


def violation(code: int) -> tuple[str, int]:
    return ("violation", code)


GOOD = {
    "empty text": (client_frame(TEXT), [""]),
    "empty binary": (client_frame(BINARY), [b""]),
    "text": (client_frame(TEXT, "Hällo".encode()), ["Hällo"]),
    "zero mask": (client_frame(TEXT, b"plain", mask=b"\0\0\0\0"), ["plain"]),
    "16-bit length": (client_frame(BINARY, b"\xff" * 126), [b"\xff" * 126]),
    "two messages": (client_frame(TEXT, b"one") + client_frame(BINARY, b"two"), ["one", b"two"]),
    "ping": (client_frame(PING, b"\0\xff"), [Ping(b"\0\xff")]),
    "empty ping": (client_frame(PING), [Ping(b"")]),
    "ping of 125": (client_frame(PING, b"p" * 125), [Ping(b"p" * 125)]),
    "pong nobody asked for": (client_frame(PONG, b"life") + client_frame(TEXT, b"x"), [Pong(b"life"), "x"]),
    "fragments": (
        client_frame(TEXT, b"fra", fin=False)
        + client_frame(CONTINUATION, b"g", fin=False)
        + client_frame(CONTINUATION),
        ["frag"],
    ),
    "fragments of nothing": (client_frame(TEXT, fin=False) + client_frame(CONTINUATION), [""]),
    "text cut inside a character": (
        client_frame(TEXT, b"\xf0\x9d", fin=False) + client_frame(CONTINUATION, b"\x84\x9e"),
        ["𝄞"],
    ),
    "control frames inside a message": (
        client_frame(BINARY, b"a", fin=False)
        + client_frame(PING, b"1")
        + client_frame(CONTINUATION, b"b", fin=False)
        + client_frame(PONG, b"2")
        + client_frame(CONTINUATION, b"c"),
        [Ping(b"1"), Pong(b"2"), b"abc"],
    ),
    "close without a code": (client_frame(CLOSE), [PeerClose(1005, "")]),
    "close with a reason": (client_frame(CLOSE, close_payload(4999, "näh".encode())), [PeerClose(4999, "näh")]),
    "close inside a message": (
        client_frame(TEXT, b"a", fin=False) + client_frame(CLOSE, close_payload(1001)),
        [PeerClose(1001, "")],
    ),
    "nothing counts after a close": (
        client_frame(CLOSE, close_payload(1000)) + client_frame(TEXT, b"late") + b"\xff" * 9,
        [PeerClose(1000, "")],
    ),
}

BAD = {
    **{f"RSV {bits}": (client_frame(TEXT, b"x", rsv=bits), 1002) for bits in range(1, 8)},
    **{f"RSV {bits} on a ping": (client_frame(PING, b"x", rsv=bits), 1002) for bits in range(1, 8)},
    **{f"opcode {code}": (client_frame(code, b"x"), 1002) for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "unmasked text": (client_frame(TEXT, b"x", masked=False), 1002),
    "unmasked empty": (client_frame(TEXT, masked=False), 1002),
    "unmasked ping": (client_frame(PING, b"x", masked=False), 1002),
    "unmasked continuation": (
        client_frame(TEXT, b"x", fin=False) + client_frame(CONTINUATION, b"x", masked=False),
        1002,
    ),
    "16-bit length of 125": (header(0x82, b"\xfe\x00\x7d"), 1002),
    "16-bit length of 0": (header(0x82, b"\xfe\x00\x00"), 1002),
    "64-bit length of 65535": (header(0x82, b"\xff" + (65_535).to_bytes(8)), 1002),
    "64-bit length of 1": (header(0x82, b"\xff" + (1).to_bytes(8)), 1002),
    "64-bit length with the top bit": (header(0x82, b"\xff\x80" + b"\0" * 7), 1002),
    "64-bit length, all ones": (header(0x82, b"\xff" * 9), 1002),
    "2 to the 62 announced": (header(0x82, b"\xff\x40" + b"\0" * 7), 1009),
    "one byte over the limit": (header(0x82, b"\xff" + (LIMIT + 1).to_bytes(8)), 1009),
    "ping of 126": (client_frame(PING, b"x" * 126), 1002),
    "pong of 70,000": (client_frame(PONG, b"x" * 70_000), 1002),
    "close of 126": (client_frame(CLOSE, b"\x03\xe8" + b"x" * 124), 1002),
    "fragmented ping": (client_frame(PING, b"x", fin=False), 1002),
    "fragmented close": (client_frame(CLOSE, fin=False), 1002),
    "continuation of nothing": (client_frame(CONTINUATION, b"x"), 1002),
    "continuation of nothing, not final": (client_frame(CONTINUATION, b"x", fin=False), 1002),
    "continuation after a complete message": (client_frame(TEXT, b"x") + client_frame(CONTINUATION, b"x"), 1002),
    "text inside a text": (client_frame(TEXT, b"x", fin=False) + client_frame(TEXT, b"x"), 1002),
    "binary inside a text": (client_frame(TEXT, b"x", fin=False) + client_frame(BINARY, b"x", fin=False), 1002),
    "close of one byte": (client_frame(CLOSE, b"\x03"), 1002),
    "close reason not UTF-8": (client_frame(CLOSE, close_payload(1000, b"\xce\xba\xff")), 1007),
    "close reason cut": (client_frame(CLOSE, close_payload(1000, b"\xe2\x82")), 1007),
    "text not UTF-8": (client_frame(TEXT, b"ok \xff"), 1007),
    "long text not UTF-8": (client_frame(TEXT, b"x" * 300 + b"\xc0\xaf"), 1007),
    "text with a surrogate": (client_frame(TEXT, b"\xed\xa0\x80"), 1007),
    "text that ends inside a character": (client_frame(TEXT, b"\xe2\x82"), 1007),
    "fragments that end inside a character": (
        client_frame(TEXT, b"\xe2", fin=False) + client_frame(CONTINUATION, b"\x82"),
        1007,
    ),
    "wrong byte in a fragment": (client_frame(TEXT, b"\xe2", fin=False) + client_frame(CONTINUATION, b"a"), 1007),
}


@pytest.mark.parametrize(("stream", "expected"), GOOD.values(), ids=GOOD.keys())
def test_valid_streams(stream: bytes, expected: list[Event]) -> None:
    assert Decoder(LIMIT).feed(stream) == expected


@pytest.mark.parametrize(("stream", "code"), BAD.values(), ids=BAD.keys())
def test_violations(stream: bytes, code: int) -> None:
    before = client_frame(TEXT, b"before")
    decoder = Decoder(LIMIT)
    events = decoder.feed(before + stream)
    assert events[0] == "before"
    assert isinstance(events[-1], Violation)
    assert events[-1].code == code
    assert 0 < len(events[-1].reason.encode()) <= 123  # it fits a Close frame
    assert decoder.feed(before) == []


@pytest.mark.parametrize("stream", [case[0] for case in (*GOOD.values(), *BAD.values())], ids=[*GOOD, *BAD])
def test_every_cut_gives_the_same_events(stream: bytes) -> None:
    stream = client_frame(TEXT, b"before") + stream[:400]
    whole = outline(Decoder(LIMIT).feed(stream))
    assert outline(feed_pieces(Decoder(LIMIT), (stream[i : i + 1] for i in range(len(stream))))) == whole
    for cut in range(len(stream) + 1):
        assert outline(feed_pieces(Decoder(LIMIT), (stream[:cut], stream[cut:]))) == whole


def test_every_pair_of_cuts_of_a_representative_stream() -> None:
    stream = (
        client_frame(TEXT, "né".encode(), fin=False)
        + client_frame(PING, b"p")
        + client_frame(CONTINUATION, "€𝄞".encode())
        + client_frame(BINARY, b"\0\1\2\3\4")
        + client_frame(CLOSE, close_payload(1000, b"bye"))
    )
    whole = Decoder(LIMIT).feed(stream)
    assert whole == [Ping(b"p"), "né€𝄞", b"\0\1\2\3\4", PeerClose(1000, "bye")]
    for first, second in itertools.combinations(range(len(stream) + 1), 2):
        pieces = (stream[:first], stream[first:second], stream[second:])
        assert feed_pieces(Decoder(LIMIT), pieces) == whole


@pytest.mark.parametrize("text", TEXTS, ids=[str(len(text.encode())) for text in TEXTS])
@pytest.mark.parametrize("step", [10**9, 4096, 997])
def test_messages_of_every_length_form(text: str, step: int) -> None:
    payload = text.encode()
    stream = client_frame(TEXT, payload) + client_frame(BINARY, payload)
    pieces = (stream[i : i + step] for i in range(0, len(stream), step))
    assert feed_pieces(Decoder(len(payload)), pieces) == [text, payload]


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999])
def test_close_codes_that_may_be_sent(code: int) -> None:
    assert Decoder(LIMIT).feed(client_frame(CLOSE, close_payload(code))) == [PeerClose(code, "")]


@pytest.mark.parametrize("code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 29541, 65535])
def test_close_codes_that_may_not(code: int) -> None:
    assert outline(Decoder(LIMIT).feed(client_frame(CLOSE, close_payload(code)))) == [violation(1002)]


def viable(prefix: bytes) -> bool:
    """Whether this prefix can be completed to valid UTF-8, by trying."""
    for head in ("", "80", "90", "a0"):
        for length in range(3 if head else 1):
            try:
                (prefix + bytes.fromhex(head) + b"\x80" * length).decode()
            except UnicodeDecodeError:
                continue
            return True
    return False


@pytest.mark.slow
def test_the_first_byte_that_cannot_be_utf8_ends_an_unfinished_message() -> None:
    edges = bytes.fromhex("007f808f909fa0bfc0ff")
    for text in (
        bytes((lead, *more))
        for lead in range(0x7F, 0x100)
        for more in itertools.product(edges, b"\x7f\x80\xbf\xc0", b"\x80A")
    ):
        decoder = Decoder(LIMIT)
        assert decoder.feed(client_frame(TEXT, text + b"never sent", fin=False)[:6]) == []
        for index, byte in enumerate(text):
            events = decoder.feed(bytes((byte ^ MASK[index],)))
            if viable(text[: index + 1]):
                assert events == [], text
            else:
                assert outline(events) == [violation(1007)], text
                break


def test_a_violation_is_seen_before_the_payload_arrives() -> None:
    assert outline(Decoder(LIMIT).feed(b"\x81\x05")) == [violation(1002)]  # unmasked
    assert outline(Decoder(LIMIT).feed(b"\x89\xfe")) == [violation(1002)]  # a ping over 125
    assert outline(Decoder(10).feed(header(0x82, b"\x8b"))) == [violation(1009)]


def test_the_limit_counts_all_fragments_at_the_header() -> None:
    start = client_frame(BINARY, b"x" * 60, fin=False)
    assert Decoder(100).feed(start + client_frame(CONTINUATION, b"x" * 40)) == [b"x" * 100]
    assert outline(Decoder(100).feed(start + header(0x80, bytes((0x80 | 41,))))) == [violation(1009)]
    # A new message starts from zero, and control frames do not count.
    whole = start + client_frame(PING, b"p" * 125) + client_frame(CONTINUATION, b"x" * 40)
    assert Decoder(100).feed(whole * 2) == [Ping(b"p" * 125), b"x" * 100] * 2


def test_small_limits_hold_for_small_frames() -> None:
    assert Decoder(5).feed(client_frame(TEXT, b"12345")) == ["12345"]
    assert outline(Decoder(5).feed(client_frame(TEXT, b"123456"))) == [violation(1009)]
    assert Decoder(0).feed(client_frame(TEXT)) == [""]


def test_a_message_in_too_many_frames() -> None:
    fragment = client_frame(CONTINUATION, b"x", fin=False)
    start = client_frame(BINARY, b"x", fin=False)
    end = client_frame(CONTINUATION, b"x")
    assert Decoder(LIMIT, max_fragments=5).feed(start + fragment * 3 + end) == [b"xxxxx"]
    assert outline(Decoder(LIMIT, max_fragments=5).feed(start + fragment * 4 + end)) == [violation(1008)]


def test_a_row_of_empty_frames() -> None:
    empty = client_frame(CONTINUATION, fin=False)
    full = client_frame(CONTINUATION, b"x", fin=False)
    start = client_frame(TEXT, b"x", fin=False)
    end = client_frame(CONTINUATION, b"x")
    row = empty * MAX_EMPTY_FRAGMENTS
    assert Decoder(LIMIT).feed(start + row + full + row + end) == ["xxx"]
    assert outline(Decoder(LIMIT).feed(start + row + empty)) == [violation(1008)]
    # Empty messages are messages.
    assert Decoder(LIMIT).feed(client_frame(TEXT) * 500) == [""] * 500


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_shared_buffer_may_be_reused_right_away(kind: Callable[[bytearray], bytes | bytearray | memoryview]) -> None:
    stream = client_frame(TEXT, b"one") + client_frame(BINARY, b"two") + client_frame(BINARY, b"long " * 100)
    for cut in range(len(stream)):
        decoder = Decoder(LIMIT)
        events = []
        for piece in (stream[:cut], stream[cut:]):
            buffer = bytearray(piece)
            events += decoder.feed(kind(buffer))
            buffer[:] = b"\xee" * len(buffer)
            buffer += b"more"  # a view that was kept would forbid this
        assert events == ["one", b"two", b"long " * 100]


def test_messages_are_plain_bytes() -> None:
    stream = client_frame(BINARY, b"ab") + client_frame(BINARY, b"a", fin=False) + client_frame(CONTINUATION, b"b")
    assert [type(event) for event in Decoder(LIMIT).feed(stream)] == [bytes, bytes]


@pytest.mark.slow
def test_a_message_byte_by_byte_takes_linear_time() -> None:
    # 1.5 s on two slow cores; copying what came before each byte would take hours.
    stream = header(0x81, b"\xff" + (1024 * 1024).to_bytes(8)) + unmask("é".encode() * 512 * 1024, MASK)
    decoder = Decoder(1024 * 1024)
    started = time.perf_counter()
    events = feed_pieces(decoder, (stream[i : i + 1] for i in range(len(stream))))
    assert time.perf_counter() - started < 30
    assert events == ["é" * 512 * 1024]


def held_and_peak(stream: bytes, step: int, limit: int) -> tuple[int, int]:
    """The bytes that a decoder holds after this unfinished stream, and the most that it held meanwhile."""
    decoder = Decoder(limit)
    gc.collect()
    tracemalloc.start()
    try:
        for start in range(0, len(stream), step):
            assert decoder.feed(memoryview(stream)[start : start + step]) == []
        return tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_a_message_in_progress_costs_about_its_bytes() -> None:
    size = 16 * 1024
    one_frame = header(0x81, b"\xfe" + size.to_bytes(2)) + unmask(b"x" * size, MASK)
    tiny = client_frame(TEXT, b"x", fin=False) + client_frame(CONTINUATION, b"x", fin=False) * (size - 1)
    for stream, step in ((one_frame[:-1], 1), (one_frame[:-1], 4096), (tiny, 7), (tiny, 4096)):
        held, peak = held_and_peak(stream, step, size)
        assert held < 1.3 * size + 2000
        assert peak < 2.5 * size + 20_000


def test_an_announced_length_costs_nothing() -> None:
    _, peak = held_and_peak(header(0x82, b"\xff" + (2**40).to_bytes(8)) + b"x" * 100, 1, 2**41)
    assert peak < 10_000


@pytest.mark.slow
def test_nothing_is_held_between_messages_or_after_the_end() -> None:
    message = client_frame(BINARY, b"x" * 50_000, fin=False) + client_frame(CONTINUATION, b"x" * 50_000)
    for tail in (b"", client_frame(CLOSE), message[:50_008] + client_frame(15)):
        decoder = Decoder(LIMIT)
        gc.collect()
        tracemalloc.start()
        feed_pieces(decoder, (message[:70_000], message[70_000:], tail))
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held < 2000


@pytest.mark.parametrize("length", [*range(20), 125, 126, 1000, 70_001])
def test_payloads_are_unmasked(length: int) -> None:
    data = bytes(index * 7 & 0xFF for index in range(length))
    expected = bytes(byte ^ MASK[index & 3] for index, byte in enumerate(data))
    assert unmask(data, MASK) == expected


def test_the_compiled_routine_is_used_and_its_absence_is_not_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unmask is not apply_mask
    monkeypatch.setattr(frames, "unmask", apply_mask)
    for stream, expected in GOOD.values():
        assert Decoder(LIMIT).feed(stream) == expected


@pytest.mark.parametrize(
    ("length", "head"),
    [
        (0, b"\x82\x00"),
        (125, b"\x82\x7d"),
        (126, b"\x82\x7e\x00\x7e"),
        (65_535, b"\x82\x7e\xff\xff"),
        (65_536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_frames_of_the_server(length: int, head: bytes) -> None:
    assert encode(BINARY, b"x" * length) == head + b"x" * length


def test_text_frames_carry_their_opcode_and_compressed_ones_rsv1() -> None:
    assert encode(TEXT, "né".encode()) == b"\x81\x03n\xc3\xa9"
    assert encode(TEXT, b"\x00", rsv1=True) == b"\xc1\x01\x00"
    assert encode(BINARY, b"x" * 200, rsv1=True)[:4] == b"\xc2\x7e\x00\xc8"


def test_control_frames_of_the_server() -> None:
    assert ping() == b"\x89\x00"
    assert ping(b"p" * 125) == b"\x89\x7d" + b"p" * 125
    assert pong(b"p") == b"\x8a\x01p"
    for write in (ping, pong):
        with pytest.raises(ValueError, match="at most 125 bytes, not 126"):
            write(b"p" * 126)


def test_close_frames_carry_code_and_reason() -> None:
    """Fault P1 of gevent-websocket: its Close is empty for any code, or its code consists of letters of the reason."""
    assert close(4001, "server says bye") == b"\x88\x11\x0f\xa1server says bye"
    assert close(1000) == b"\x88\x02\x03\xe8"
    assert close() == close(1005, "lost") == close(0) == b"\x88\x00"


@pytest.mark.parametrize("code", [1, 999, 1004, 1006, 1015, 2999, 5000])
def test_close_codes_that_must_never_go_out(code: int) -> None:
    with pytest.raises(ValueError, match=f"close code {code} may not be sent"):
        close(code)


@pytest.mark.parametrize("text", ["x" * 200, "é" * 100, "x" + "é" * 100, "€" * 60, "𝄞" * 40, "xx" + "𝄞" * 40])
def test_a_long_reason_is_cut_at_a_character(text: str) -> None:
    written = close(1000, text)
    reason = written[4:].decode()
    assert written[1] == len(written) - 2 <= 125
    assert text.startswith(reason)
    assert len(reason.encode()) > 119


def test_a_reason_with_a_lone_surrogate_still_closes() -> None:
    assert close(1000, "a\ud800b") == b"\x88\x05\x03\xe8a?b"
