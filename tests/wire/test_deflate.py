"""permessage-deflate: the subjects of Autobahn's groups 12 and 13, hostile offers, bombs and broken streams."""

from __future__ import annotations

import time
import tracemalloc
import zlib

import pytest

from fws.base.errors import ProtocolError, Refusal
from fws.wire.deflate import MAX_OFFERS, Agreement, Inflater, deflate, negotiate
from fws.wire.frames import BINARY, CONTINUATION, PING, TEXT, Decoder, Ping
from tests.wire.octets import client_frame, feed_pieces, outline

MIB = 1024 * 1024
TAIL = b"\x00\x00\xff\xff"
BASE = "permessage-deflate; server_no_context_takeover"
TAKEOVER = Agreement("", 15, 15, False)
ALONE = Agreement("", 15, 15, True)


def decoder(limit: int = MIB, agreement: Agreement = TAKEOVER) -> Decoder:
    return Decoder(limit, inflater=Inflater(agreement))


class Peer:
    """A client's compressor that keeps its window between messages."""

    def __init__(self, bits: int = 15) -> None:
        self.stream = zlib.compressobj(wbits=-bits)

    def compress(self, data: bytes) -> bytes:
        return (self.stream.compress(data) + self.stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


@pytest.mark.parametrize(
    ("offers", "expected"),
    [
        ("permessage-deflate", Agreement(BASE, 15, 15, False)),
        ("permessage-deflate; client_max_window_bits", Agreement(BASE, 15, 15, False)),
        (
            "permessage-deflate; client_max_window_bits=10",
            Agreement(BASE + "; client_max_window_bits=10", 15, 10, False),
        ),
        ("permessage-deflate; client_max_window_bits=8", Agreement(BASE + "; client_max_window_bits=8", 15, 8, False)),
        (
            'permessage-deflate ; server_max_window_bits = "1\\0"',
            Agreement(BASE + "; server_max_window_bits=9", 9, 15, False),
        ),
        ("permessage-deflate; server_no_context_takeover", Agreement(BASE, 15, 15, False)),
        (
            "permessage-deflate;client_no_context_takeover",
            Agreement(BASE + "; client_no_context_takeover", 15, 15, True),
        ),
        (
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=15; client_no_context_takeover",
            Agreement(
                BASE + "; server_max_window_bits=9; client_max_window_bits=15; client_no_context_takeover", 9, 15, True
            ),
        ),
        ("x-webkit-deflate-frame, , bbf-usp; a=b,\tpermessage-deflate", Agreement(BASE, 15, 15, False)),
    ],
)
def test_offers_that_are_met(offers: str, expected: Agreement) -> None:
    assert negotiate(offers) == expected


@pytest.mark.parametrize(
    "parameters",
    [
        "client_context",
        "server_max_window_bits",
        "server_max_window_bits=8",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=010",
        "server_max_window_bits=+10",
        "server_max_window_bits=1_0",
        "server_max_window_bits=10; server_max_window_bits=10",
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "client_max_window_bits=09",
        "client_max_window_bits; client_max_window_bits=10",
        "server_no_context_takeover=1",
        'client_no_context_takeover="true"',
        "client_no_context_takeover; client_no_context_takeover",
        "Server_No_Context_Takeover",
    ],
)
def test_offers_that_are_declined_for_the_next(parameters: str) -> None:
    offer = f"permessage-deflate; {parameters}"
    assert negotiate(offer) is None
    assert negotiate(f"{offer}, permessage-deflate; server_max_window_bits=12") == Agreement(
        BASE + "; server_max_window_bits=12", 12, 15, False
    )


@pytest.mark.parametrize("offers", [None, "", " , ,", "permessage-bzip2", "Permessage-Deflate2; x=y"])
def test_nothing_to_agree_on(offers: str | None) -> None:
    assert negotiate(offers) is None


def test_the_client_can_be_asked_to_forget() -> None:
    expected = Agreement(BASE + "; client_no_context_takeover", 15, 15, True)
    assert negotiate("permessage-deflate", client_no_context_takeover=True) == expected


@pytest.mark.parametrize(
    "offers",
    [
        ";",
        "permessage-deflate;",
        "permessage-deflate; =10",
        "permessage-deflate; server_max_window_bits=",
        'permessage-deflate; server_max_window_bits="10',
        'permessage-deflate; server_max_window_bits=""',
        'permessage-deflate; server_max_window_bits="1 0"',
        'permessage-deflate; server_max_window_bits="10"x',
        "permessage-deflate server_max_window_bits=10",
        "permessage-deflate; a=b=c",
        "permessage(deflate)",
        "permessage-déflate",
        "permessage-deflate\n",
        "good, b@d",
    ],
)
def test_offers_outside_the_grammar(offers: str) -> None:
    with pytest.raises(Refusal, match="malformed at character") as refused:
        negotiate(offers)
    assert refused.value.status == 400


def test_offers_are_bounded_and_parsed_in_linear_time() -> None:
    assert negotiate(", ".join(["x"] * (MAX_OFFERS - 1)) + ", permessage-deflate") is not None
    with pytest.raises(Refusal, match="more than 16 offers"):
        negotiate(", ".join(["x"] * (MAX_OFFERS + 1)))
    for hostile in (
        " " * 32_000 + "\x00",
        "a" + " " * 32_000 + "=",
        "a;b" + " " * 32_000 + "(",
        'a;b="' + "\\a" * 16_000,
    ):
        started = time.perf_counter()
        with pytest.raises(Refusal):
            negotiate(hostile)
        assert time.perf_counter() - started < 1


NOISE = b"".join(zlib.crc32(bytes((i & 255, i >> 8))).to_bytes(4) for i in range(16_384))
PAYLOADS = (b"", b"a", b"Hello", b"Hello" * 50, bytes(range(256)) * 40, b"x" * 300_000, NOISE[:20_000] * 2)


@pytest.mark.parametrize("bits", range(9, 16))
@pytest.mark.parametrize("payload", PAYLOADS, ids=[str(len(payload)) for payload in PAYLOADS])
def test_compressed_messages_fit_the_agreed_window(bits: int, payload: bytes) -> None:
    assert zlib.decompressobj(-bits).decompress(deflate(payload, bits) + TAIL) == payload


def test_each_message_of_the_server_stands_alone() -> None:
    assert deflate(b"Hello" * 9, 15) == deflate(b"Hello" * 9, 15)
    assert deflate(b"", 15) == b"\x00"  # RFC 7692 7.2.3.6


@pytest.mark.parametrize("bits", range(9, 16))
@pytest.mark.parametrize("step", [10**9, 4096, 1])
def test_messages_with_context_takeover(bits: int, step: int) -> None:
    peer = Peer(bits)
    messages = ["", "one", "one two", "", "", "one two three " * 200, "x"]
    stream = b"".join(client_frame(TEXT, peer.compress(text.encode()), rsv=4) for text in messages)
    receiver = decoder(agreement=Agreement("", 15, bits, False))
    assert feed_pieces(receiver, (stream[i : i + step] for i in range(0, len(stream), step))) == messages


def test_messages_without_context_takeover() -> None:
    stream = b"".join(client_frame(BINARY, Peer().compress(b"same again " * 20), rsv=4) for _ in range(3))
    assert decoder(agreement=ALONE).feed(stream) == [b"same again " * 20] * 3
    # A client that keeps its window in spite of what it agreed to refers to bytes that are gone.
    peer = Peer()
    first, second = (client_frame(BINARY, peer.compress(b"same again " * 20), rsv=4) for _ in range(2))
    assert outline(decoder(agreement=ALONE).feed(first + second)) == [b"same again " * 20, ("violation", 1007)]


@pytest.mark.parametrize(
    "payload",
    [
        bytes.fromhex("f248cdc9c90700"),
        bytes.fromhex("000500faff48656c6c6f00"),
        bytes.fromhex("f348cdc9c9070000"),
        bytes.fromhex("f24805000000ffffcac9c90700"),
    ],
    ids=["one block", "stored", "a block that says it is the last", "two blocks"],
)
@pytest.mark.parametrize("agreement", [TAKEOVER, ALONE], ids=["takeover", "alone"])
def test_the_examples_of_the_rfc(payload: bytes, agreement: Agreement) -> None:
    """RFC 7692 7.2.3: a last block inside a message must not make the rest disappear."""
    for cut in range(len(payload)):
        stream = client_frame(TEXT, payload[:cut], rsv=4, fin=False) + client_frame(CONTINUATION, payload[cut:])
        assert decoder(agreement=agreement).feed(stream * 3) == ["Hello"] * 3


def test_a_last_block_without_the_extra_byte() -> None:
    """A peer that omits the empty block of RFC 7692 7.2.3.4 is understood, and so is its next message."""
    stream = client_frame(TEXT, bytes.fromhex("f348cdc9c90700"), rsv=4)
    assert decoder().feed(stream * 2) == ["Hello"] * 2


def test_streams_that_end_without_end() -> None:
    endless = b"\x03\x00" * 500_000  # empty last blocks
    started = time.perf_counter()
    assert outline(decoder().feed(client_frame(BINARY, endless, rsv=4, mask=b"\0\0\0\0"))) == [("violation", 1007)]
    assert time.perf_counter() - started < 5
    assert decoder().feed(client_frame(BINARY, b"\x03\x00" * 10 + b"\x00", rsv=4) * 5) == [b""] * 5


def test_fragments_with_control_frames_between_at_every_cut() -> None:
    peer = Peer()
    packed = peer.compress("κόσμε and κόσμε".encode())
    stream = (
        client_frame(TEXT, packed[:3], rsv=4, fin=False)
        + client_frame(PING, b"p")
        + client_frame(CONTINUATION, packed[3:9], fin=False)
        + client_frame(CONTINUATION, packed[9:])
        + client_frame(TEXT, b"plain")
        + client_frame(BINARY, peer.compress(b"and"), rsv=4)
    )
    expected = [Ping(b"p"), "κόσμε and κόσμε", "plain", b"and"]
    for cut in range(len(stream) + 1):
        assert feed_pieces(decoder(), (stream[:cut], stream[cut:])) == expected
    assert feed_pieces(decoder(), (stream[i : i + 1] for i in range(len(stream)))) == expected


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (client_frame(PING, b"x", rsv=4), 1002),
        (client_frame(TEXT, b"\x00", rsv=6), 1002),
        (client_frame(TEXT, b"\x00", rsv=5), 1002),
        (client_frame(TEXT, b"\x00", rsv=4, fin=False) + client_frame(CONTINUATION, b"\x00", rsv=4), 1002),
        (client_frame(TEXT, b"\x00", fin=False) + client_frame(CONTINUATION, b"\x00", rsv=4), 1002),
        (client_frame(TEXT, b"\xff\xff\xff", rsv=4), 1007),
        (client_frame(TEXT, Peer().compress(b"ok \xff"), rsv=4), 1007),
        (client_frame(TEXT, Peer().compress(b"\xe2\x82"), rsv=4), 1007),
        (client_frame(TEXT, Peer().compress(b"bad \xff" + b"x" * 2 * MIB), rsv=4), 1007),
    ],
)
def test_violations_with_compression(stream: bytes, code: int) -> None:
    assert outline(decoder().feed(stream)) == [("violation", code)]
    assert outline(feed_pieces(decoder(), (stream[i : i + 1] for i in range(len(stream))))) == [("violation", code)]


def test_wrong_text_is_found_before_its_message_ends() -> None:
    packed = Peer().compress(b"ok \xff")
    assert outline(decoder().feed(client_frame(TEXT, packed, rsv=4, fin=False))) == [("violation", 1007)]


def test_the_limit_is_on_the_inflated_message() -> None:
    for size, expected in ((1000, [b"x" * 1000]), (1001, [("violation", 1009)])):
        packed = Peer().compress(b"x" * size)
        whole = client_frame(BINARY, packed, rsv=4)
        pieces = client_frame(BINARY, packed[:4], rsv=4, fin=False) + client_frame(CONTINUATION, packed[4:])
        assert outline(decoder(1000).feed(whole)) == expected
        assert outline(decoder(1000).feed(pieces)) == expected


def test_incompressible_messages_may_fill_the_limit() -> None:
    packed = Peer().compress(NOISE)
    assert len(packed) > len(NOISE)
    assert decoder(len(NOISE)).feed(client_frame(BINARY, packed, rsv=4)) == [NOISE]


def test_compressed_bytes_that_inflate_to_nothing_are_bounded() -> None:
    nothing = client_frame(CONTINUATION, (b"\x00" + TAIL) * 20, fin=False)
    stream = client_frame(BINARY, b"\x00" + TAIL, rsv=4, fin=False) + nothing * 20
    assert outline(decoder(1000).feed(stream)) == [("violation", 1009)]


def test_a_bomb_of_one_gib_stops_at_the_limit() -> None:
    """CVE-2018-1000518, CVE-2026-1526: inflation stops at the limit, not after it."""
    stream = zlib.compressobj(9, wbits=-15)
    mebibyte = stream.compress(bytes(MIB)) + stream.flush(zlib.Z_FULL_FLUSH)
    bomb = client_frame(BINARY, mebibyte * 1024, rsv=4, mask=b"\0\0\0\0")
    assert len(bomb) < 1.25 * MIB
    for step in (len(bomb), 64 * 1024):
        receiver = decoder(MIB)
        tracemalloc.start()
        started = time.perf_counter()
        events = feed_pieces(receiver, (bomb[i : i + step] for i in range(0, len(bomb), step)))
        spent = time.perf_counter() - started
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert outline(events) == [("violation", 1009)]
        assert peak < 8 * MIB
        assert spent < 2


def test_inflater_gives_at_most_one_byte_more_than_there_is_room() -> None:
    inflater = Inflater(TAKEOVER)
    assert inflater.inflate(Peer().compress(bytes(5000)), 99) == bytes(100)
    hello = bytes.fromhex("f348cdc9c90700")  # ends its stream
    assert Inflater(TAKEOVER).inflate(hello + Peer().compress(bytes(5000)), 99) == b"Hello" + bytes(95)
    with pytest.raises(ProtocolError, match="1007 compressed data is corrupt"):
        Inflater(TAKEOVER).inflate(b"\xff" * 9, 99)


def test_without_context_takeover_an_idle_client_holds_no_window() -> None:
    packed = Peer().compress(bytes(range(256)) * 200)
    held = {}
    for agreement in (ALONE, TAKEOVER):
        inflater = Inflater(agreement)
        tracemalloc.start()
        inflater.inflate(packed, MIB)
        inflater.finish(MIB)
        held[agreement.client_no_context_takeover], _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert held[True] < 1000
    assert 32 * 1024 < held[False] < 44 * 1024
