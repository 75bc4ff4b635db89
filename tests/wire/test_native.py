"""The compiled functions give the same results as their Python equivalents, and stay within their bounds.

The tests import the extension module itself and not `fws.wire.native`, so that they run with `FWS_PURE` as well. Where
a compiler is available the module must have been built: without it fws would be slower without anybody noticing.
"""

from __future__ import annotations

import importlib
import os
import shutil
import socket
import struct
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fws.clients.transport import MAX_READ
from fws.wire.encoding import payload_of
from fws.wire.frames import BINARY, CONTINUATION, TEXT, Decoder, encode
from tests.wire.octets import client_frame, feed_pieces
from tests.wire.test_frames_properties import anything, conversations, cut, cut_positions, new_decoder

ROOT = Path(__file__).parents[2]


_native: Any = None
try:
    _native = importlib.import_module("fws._native")
except ImportError:
    pass
needs_it = pytest.mark.skipif(_native is None, reason="this machine has no compiler")


def test_it_was_built_where_there_is_a_compiler() -> None:
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    if shutil.which(compiler.split()[0]) and headers.exists():
        assert _native is not None, "fws._native was not built: pip install -v --editable . says why"


@pytest.mark.parametrize(("pure", "expected"), [("", _native is not None), ("1", False)])
def test_a_variable_of_the_environment_switches_it_off(pure: str, expected: bool) -> None:
    script = "from fws.wire import native; print([native.receive, native.decode, native.frame, native.send_each])"
    environment = os.environ | {"FWS_PURE": pure}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ("None" in done.stdout) is not expected, done


@pytest.mark.skipif("FWS_PURE" in os.environ, reason="these are the pure ones")
def test_the_pure_ones_pass_the_same_tests() -> None:
    """The compiled part is optional, so that the Python part must be equally correct: the codec, and the way of a
    publication.
    """
    chosen = ("--ignore=tests/wire/test_native.py", "tests/wire", "tests/channels", "tests/clients/test_client.py")
    command = [sys.executable, "-m", "pytest", "-x", *chosen]
    environment = os.environ | {"FWS_PURE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout


# Decoding.


def both(pieces: list[bytes], **limits: Any) -> tuple[list[Any], list[Any]]:
    """The events of these bytes, from the pure decoder and from the one with the compiled function."""
    results = []
    for decode in (None, _native.decode):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fws.wire.frames.decode", decode)
            results.append(feed_pieces(Decoder(**limits) if limits else new_decoder(), pieces))
    return results[0], results[1]


# Whole messages in one frame each: what the compiled loop reads by itself.
messages = st.one_of(st.text(max_size=300), st.binary(max_size=300), st.integers(0, 70_000).map(bytes)).map(
    lambda message: client_frame(TEXT, message.encode()) if isinstance(message, str) else client_frame(BINARY, message)
)
broken_texts = st.binary(max_size=12).map(lambda payload: client_frame(TEXT, payload))
streams = st.one_of(
    anything,
    conversations().map(lambda conversation: conversation[0]),
    st.lists(st.one_of(messages, messages, broken_texts, anything), max_size=6).map(b"".join),
)


@needs_it
@settings(max_examples=300, deadline=None)
@given(streams, cut_positions)
def test_any_bytes_cut_anywhere_give_the_same_events(stream: bytes, positions: list[int]) -> None:
    pure, compiled = both(cut(stream, positions))
    assert compiled == pure


@needs_it
@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 125, 126, 127, 4095, 4096, 4097, 65535, 65536])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_lengths_at_their_edges(opcode: int, length: int) -> None:
    payload = bytes(number % 128 for number in range(length))
    stream = client_frame(opcode, payload) * 2
    event: Any = payload.decode() if opcode == TEXT else payload
    for pieces in ([stream], [stream[:-1], stream[-1:]], [stream[:5], stream[5:9], stream[9:]]):
        assert both(pieces, max_message=65536) == ([event, event], [event, event])


@needs_it
@pytest.mark.parametrize("limit", [1, 125, 126, 127, 1000])
def test_a_message_over_the_limit_is_refused(limit: int) -> None:
    for length in (limit, limit + 1):
        stream = client_frame(BINARY, b"first"[:limit]) + client_frame(BINARY, bytes(length))
        pure, compiled = both([stream], max_message=limit)
        assert compiled == pure
        assert (compiled[-1] == bytes(length)) is (length == limit)


@needs_it
def test_a_length_that_is_not_in_its_shortest_form_is_left_to_the_other() -> None:
    for length in (0, 125):
        stream = b"\x82\xfe" + struct.pack("!H", length) + bytes(4 + length)
        assert _native.decode(stream, 0, 1000, []) == 0
        pure, compiled = both([stream])
        assert compiled == pure


@needs_it
@pytest.mark.parametrize(
    "text", [b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"x" * 5000 + b"\x80"]
)
def test_text_that_is_not_utf_8(text: bytes) -> None:
    stream = client_frame(TEXT, b"ok") + client_frame(TEXT, text) + client_frame(TEXT, b"never")
    events: list[Any] = []
    with pytest.raises(UnicodeDecodeError):
        _native.decode(stream, 0, 10_000, events)
    assert events == ["ok"]
    pure, compiled = both([stream], max_message=10_000)
    assert compiled == pure


@needs_it
def test_it_stops_where_something_else_begins() -> None:
    one = client_frame(TEXT, b"one")
    for other in (
        b"",
        one[:-1],
        client_frame(9, b"ping"),
        client_frame(TEXT, b"x", fin=False),
        client_frame(CONTINUATION, b"x"),
        client_frame(TEXT, b"x", rsv=4),
        client_frame(TEXT, b"xxxxx", masked=False),
        client_frame(BINARY, bytes(65536)),
    ):
        events: list[Any] = []
        assert _native.decode(one + other, 0, 100_000, events) == len(one)
        assert events == ["one"]


@needs_it
def test_positions_and_limits_that_make_no_sense_read_nothing() -> None:
    stream = client_frame(TEXT, b"one")
    events: list[Any] = []
    assert _native.decode(stream, len(stream), 100, events) == len(stream)
    assert _native.decode(stream, 2**62, 100, events) == 2**62
    assert _native.decode(stream, 0, -1, events) == 0
    assert _native.decode(stream, 0, sys.maxsize, events) == len(stream)
    with pytest.raises(ValueError, match="negative"):
        _native.decode(stream, -1, 100, events)
    with pytest.raises(OverflowError):
        _native.decode(stream, 0, 2**64, events)
    assert events == ["one"]


# Writing.


@needs_it
@pytest.mark.parametrize("length", [0, 1, 125, 126, 65535, 65536, 70_000])
def test_frames_of_any_length(length: int) -> None:
    for message in ("x" * length, "é" * (length // 2), b"\xff" * length):
        assert _native.frame(message) == encode(*payload_of(message))


@needs_it
@given(st.text() | st.binary())
def test_frames_of_any_message(message: str | bytes) -> None:
    assert _native.frame(message) == encode(*payload_of(message))


@needs_it
def test_other_values_are_left_to_the_python_implementation() -> None:
    class Text(str):
        __slots__ = ()

    for message in ("\ud800", Text("x"), bytearray(b"x"), None, 1, {"a": 1}):
        assert _native.frame(message) is None


# Sockets.


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield ours, theirs


@needs_it
def test_receiving(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    fd = ours.fileno()
    assert _native.receive(fd, 100) is None
    theirs.sendall(b"hello")
    assert _native.receive(fd, 2) == b"he"
    assert _native.receive(fd, 0) == b"l", "nothing asked for would look like the end of the stream"
    assert _native.receive(fd, sys.maxsize) == b"lo"
    assert _native.receive(fd, 100) is None
    theirs.sendall(b"last")
    theirs.close()
    assert [_native.receive(fd, 100) for _ in range(3)] == [b"last", b"", b""]


@needs_it
def test_receiving_does_not_wait_on_a_socket_that_does(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    ours.setblocking(True)
    assert _native.receive(ours.fileno(), 100) is None


@needs_it
def test_no_more_is_received_than_the_buffer_holds(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * MAX_READ)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MAX_READ)
    sent = 0
    try:
        while True:
            sent += theirs.send(os.urandom(65536))
    except BlockingIOError:
        pass
    sizes = []
    while data := _native.receive(ours.fileno(), 2**40):
        sizes.append(len(data))
    assert sum(sizes) == sent
    assert max(sizes) == MAX_READ, "the buffers in C and in Python have the same size"


@needs_it
def test_a_reset_is_the_end_of_the_stream() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    with ours:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        assert _native.receive(ours.fileno(), 100) == b""


@needs_it
def test_a_descriptor_that_is_none_is_the_end_of_the_stream(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    fd = ours.fileno()
    ours.close()
    assert _native.receive(fd, 100) == _native.receive(-1, 100) == b""


FORMAT = object()


def receiver(sock: socket.socket | None, format: object = FORMAT) -> Any:
    """A client as `send_each` sees it."""
    return SimpleNamespace(fd=-1 if sock is None else sock.fileno(), format=format)


def fill(sock: socket.socket) -> int:
    """Send until the socket accepts no more. Returns the number of bytes."""
    sent = 0
    try:
        while True:
            sent += sock.send(b"\0" * 65536)
    except BlockingIOError:
        return sent


@needs_it
def test_sending_to_each(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    mine, elsewhere = receiver(ours), receiver(None)
    receivers = [mine, None, elsewhere, mine, mine]
    other = receiver(ours, object())
    assert _native.send_each([other], 0, 1, b"frame", FORMAT) == [(other, 0)], "another format needs another frame"
    assert _native.send_each(receivers, 0, 4, b"frame", FORMAT) == [(elsewhere, 0)]
    assert theirs.recv(100) == b"frameframe"
    assert _native.send_each(receivers, 4, 2**40, b"frame", FORMAT) == [], "beyond the end is nobody"
    assert theirs.recv(100) == b"frame"
    for start, stop in ((5, 9), (2**40, 2**41), (3, 1), (-3, 5)):
        assert _native.send_each(receivers, start, stop, b"frame", FORMAT) == []
    assert _native.send_each([], 0, 16, b"frame", FORMAT) == []
    with pytest.raises(BlockingIOError):
        theirs.recv(100)


@needs_it
def test_sending_to_a_full_socket_tells_how_much_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    with ours, theirs:
        ours.setblocking(False)
        mine = receiver(ours)
        frame = os.urandom(64 * 1024 * 1024)
        ((left, sent),) = _native.send_each([mine], 0, 1, frame, FORMAT)
        assert left is mine
        assert 0 < sent < len(frame)
        more = fill(ours)
        assert _native.send_each([mine], 0, 1, b"frame", FORMAT) == [(mine, 0)]
        ours.close()
        received = bytearray()
        while data := theirs.recv(1 << 20):
            received += data
    assert received == frame[:sent] + bytes(more), "what is told as sent has been sent"


@needs_it
def test_sending_to_a_closed_socket_raises_no_signal(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.close()
    mine = receiver(ours)
    assert _native.send_each([mine, mine], 0, 2, b"frame", FORMAT) == [(mine, 0), (mine, 0)]


@needs_it
def test_a_receiver_without_a_descriptor_is_a_fault(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    for wrong in (object(), SimpleNamespace(fd=None), SimpleNamespace(fd="no"), SimpleNamespace(fd=1)):
        references = sys.getrefcount(wrong)
        with pytest.raises((AttributeError, TypeError)):
            _native.send_each([receiver(ours), receiver(None), wrong], 0, 3, b"frame", FORMAT)
        assert sys.getrefcount(wrong) == references


@needs_it
def test_references_are_given_back(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    mine, elsewhere, frame = receiver(ours), receiver(None), b"frame of nobody else"
    before = [sys.getrefcount(each) for each in (mine, elsewhere, frame)]
    for _ in range(10):
        _native.send_each([mine, elsewhere, None], 0, 3, frame, FORMAT)
        _native.frame(frame)
    assert [sys.getrefcount(each) for each in (mine, elsewhere, frame)] == before


@needs_it
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("receive", ()),
        ("receive", (1,)),
        ("receive", ("1", 1)),
        ("receive", (1, None)),
        ("receive", (1, 1, 1)),
        ("decode", ()),
        ("decode", (bytearray(b"x"), 0, 1, [])),
        ("decode", (b"x", "0", 1, [])),
        ("decode", (b"x", 0, 1.5, [])),
        ("decode", (b"x", 0, 1, ())),
        ("decode", (b"x", 0, 1, [], 1)),
        ("frame", ()),
        ("frame", (b"x", b"y")),
        ("send_each", ()),
        ("send_each", ((), 0, 1, b"x")),
        ("send_each", ([], None, 1, b"x")),
        ("send_each", ([], 0, "1", b"x")),
        ("send_each", ([], 0, 1, "x")),
    ],
)
def test_wrong_arguments_raise(name: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        getattr(_native, name)(*arguments)
