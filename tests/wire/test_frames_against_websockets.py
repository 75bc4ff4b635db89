"""The decoder compared with the parser of the `websockets` package, an independent implementation of the same RFCs.

Both get the same bytes and must give the same messages and the same close code. They differ intentionally in these
points:

* `websockets` checks the bits, fragmentation and control length of a frame only after its payload has arrived and was
decompressed, and checks its size before. A frame with several errors is 1002 here, and too large or corrupt there.
* It accepts lengths that are not in their shortest form, against RFC 6455 5.2, and treats one with the top bit set as
too large.
* It refuses a Close inside an unfinished message, which RFC 6455 5.4 allows.
* For corrupt compressed data it uses 1002 and we use 1007 (see `Inflater.inflate`). It decompresses a frame before it
checks text, so that it finds another error first if there are several. It ignores what follows a last deflate block.
* It processes the tail of a compressed message without any bytes, which corrupts the next one.
* It counts compressed bytes towards the limit for decompressed ones. We allow a quarter more for them.

Its parser does not check text. Here an incremental decoder does.
"""

from __future__ import annotations

import codecs
import logging
import zlib

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from websockets import frames as theirs
from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.protocol import Protocol, Side

from fws.wire.deflate import Agreement, Inflater
from fws.wire.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Decoder, Event, PeerClose, Ping, Pong
from tests.wire.octets import client_frame, is_terminal, outline

LIMIT = 1000
SILENT = logging.Logger("silent", logging.CRITICAL + 1)


class Deflate(PerMessageDeflate):
    """Their extension, which reports streams that it is known to misread."""

    def __init__(self) -> None:
        super().__init__(False, False, 15, 15)
        self.misread = False
        self.fed = False

    def decode(self, frame: theirs.Frame, *, max_size: int | None = None) -> theirs.Frame:
        compressed = frame.rsv1 or (frame.opcode == theirs.CONT and self.decode_cont_data)
        if frame.opcode in theirs.DATA_OPCODES and compressed:
            self.fed = self.fed or bool(frame.data)
            self.misread = self.misread or (frame.fin and not self.fed)
            self.fed = self.fed and not frame.fin
        try:
            return super().decode(frame, max_size=max_size)
        finally:
            self.misread = self.misread or self.decoder.eof


def expected(stream: bytes, extension: Deflate | None = None) -> list[object]:
    """The result of `websockets` for a stream, in the form of ours."""
    protocol = Protocol(Side.SERVER, max_size=LIMIT, logger=SILENT)
    protocol.extensions = [extension] if extension else []
    protocol.receive_data(stream)
    events: list[object] = []
    data = b""
    for frame in protocol.events_received():
        assert isinstance(frame, theirs.Frame)
        if frame.opcode is theirs.PING:
            events.append(Ping(bytes(frame.data)))
        elif frame.opcode is theirs.PONG:
            events.append(Pong(bytes(frame.data)))
        elif frame.opcode is not theirs.CLOSE:
            if frame.opcode is not theirs.CONT:
                data = b""
                checker = codecs.getincrementaldecoder("utf-8")() if frame.opcode is theirs.TEXT else None
            data += frame.data
            if checker:
                try:
                    checker.decode(frame.data, frame.fin)
                except UnicodeDecodeError:
                    return [*events, ("violation", 1007)]
                # CPython's decoder alone waits for the third byte of a surrogate.
                if b"\xed\xa0" <= checker.getstate()[0] < b"\xee":
                    return [*events, ("violation", 1007)]
            if frame.fin:
                events.append(data.decode() if checker else data)
    error = protocol.parser_exc
    if error is None or str(error) == "incomplete fragmented message":
        if protocol.close_rcvd is not None:
            events.append(PeerClose(int(protocol.close_rcvd.code), protocol.close_rcvd.reason))
    elif isinstance(error, PayloadTooBig):
        events.append(("violation", 1009))
    elif str(error) == "decompression failed":
        events.append("corrupt")
    elif isinstance(error, UnicodeDecodeError):
        events.append(("violation", 1007))
    else:
        assert isinstance(error, ProtocolError), error
        events.append(("violation", 1002))
    return events


def check(stream: bytes, *, compressed: bool = False) -> None:
    # Zeros complete the frame in progress, so that neither parser is left waiting; then both stop at the latest,
    # because the next frame is not masked.
    stream += bytes(LIMIT + 300)
    extension = Deflate() if compressed else None
    wanted = expected(stream, extension)
    assume(extension is None or not extension.misread)
    inflater = Inflater(Agreement("", 15, 15, False)) if compressed else None
    events: list[Event] = Decoder(LIMIT, inflater=inflater).feed(stream)
    assert is_terminal(events[-1])
    *ours, last = outline(events)
    *messages, end = wanted
    if getattr(events[-1], "reason", "").startswith("the length is not in its shortest form"):
        assert ours == messages[: len(ours)]
    elif end == ("violation", 1009) and compressed:
        assert ours[: len(messages)] == messages
    else:
        assert ours == messages
        if end == ("violation", 1009):
            assert last in (("violation", 1009), ("violation", 1002))
        elif end == "corrupt":
            assert last in (("violation", 1007), ("violation", 1002))
        else:
            assert last == end


payloads = st.one_of(st.binary(max_size=30), st.text(max_size=30).map(str.encode), st.just(b"x" * 200))


@st.composite
def frames_of_a_client(draw: st.DrawFn, compressed: bool) -> bytes:
    """Frames that are mostly valid at their position."""
    packer = zlib.compressobj(wbits=-15)
    stream = b""
    inside = packed = False
    for _ in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(["data"] * 6 + ["control", "control", "close", "odd"]))
        payload = draw(payloads)
        if kind == "data":
            opcode = CONTINUATION if inside else draw(st.sampled_from([TEXT, BINARY]))
            if not inside:
                packed = compressed and draw(st.booleans())
            fin = draw(st.booleans())
            rsv = 4 if packed and not inside else 0
            if packed:
                payload = packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH)
                payload = payload[:-4] if fin else payload
            stream += client_frame(opcode, payload, fin=fin, rsv=rsv)
            inside = not fin
        elif kind == "control":
            stream += client_frame(draw(st.sampled_from([PING, PONG])), payload[:125])
        elif kind == "close":
            code = draw(st.one_of(st.sampled_from([1000, 1004, 1005, 1014, 1015, 4000]), st.integers(0, 65_535)))
            stream += client_frame(CLOSE, (code.to_bytes(2) + payload[:123])[: draw(st.sampled_from([0, 1, 2, 125]))])
        else:
            stream += client_frame(
                draw(st.integers(0, 15)),
                payload,
                fin=draw(st.booleans()),
                rsv=draw(st.integers(0, 7)),
                masked=draw(st.booleans()),
            )
    return stream


@st.composite
def mutated(draw: st.DrawFn, compressed: bool) -> bytes:
    stream = bytearray(draw(frames_of_a_client(compressed)))
    for _ in range(draw(st.integers(0, 3))):
        position = draw(st.integers(0, len(stream)))
        stream[position : position + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(stream)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(mutated(compressed=False))
@example(client_frame(TEXT, b"a", fin=False) + client_frame(CLOSE, b"\x03\xe8"))
@example(client_frame(TEXT, b"\xf0\x9d", fin=False) + client_frame(PING) + client_frame(CONTINUATION, b"\x84\x9e"))
@example(client_frame(TEXT, b"\xed\xa0", fin=False))
@example(client_frame(CLOSE, b"\x03\xff\xff"))
def test_the_same_messages_and_close_codes(stream: bytes) -> None:
    check(stream)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(mutated(compressed=True))
def test_the_same_messages_and_close_codes_with_compression(stream: bytes) -> None:
    check(stream, compressed=True)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_the_same_end_of_arbitrary_bytes(stream: bytes) -> None:
    check(stream)
