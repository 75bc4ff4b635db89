"""Floods: one client sends as much as it can, or gets as much as possible.

A client whose filters do not block is served in the event loop's callback, and others in a greenlet. Both are tested,
and one of them over TLS. If one client can starve others, each wait takes seconds (fault C6 of gevent-websocket).
"""

from __future__ import annotations

import contextlib
import selectors
import threading
import time

import pytest

from tests.hostile.attack import PATIENT, SECONDS, flood, meanwhile, memory, repeat
from tests.hostile.bystander import Bystander
from tests.integration.conftest import Running, Serve
from tests.integration.raw import PING, PONG, TEXT, Raw, frame

ENDPOINTS = """
[limits]
max_outbox = "64MiB"
[pipelines]
message = [{first}"echo"]
[endpoints."/all"]
connect = ["join all"]
message = [{first}"broadcast all"]
[endpoints."/told"]
connect = ["join told"]
message = [{first}"broadcast told"]
deliver = [{first}"log level=debug"]
[endpoints."/quiet"]
message = [{first}"drop"]
"""
MODES = {"in the loop": ("", False), "in a greenlet": ('"patient", ', False), "over TLS": ("", True)}


@pytest.fixture(scope="module", params=MODES)
def server(request: pytest.FixtureRequest, shared: dict[bool, Serve]) -> Running:
    first, tls = MODES[request.param]
    return shared[tls](ENDPOINTS.format(first=first), pipelines={"patient": PATIENT})


FLOODS = {
    "requests": b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 50,
    "pings": (frame(PING) * 20 + frame(PING, b"x" * 125)) * 100,
    "pongs": frame(PONG) * 2000,
    "one-byte fragments": frame(TEXT, b"x", fin=False) + frame(0, b"x", fin=False) * 20_000,
    "empty fragments": (frame(TEXT, b"", fin=False) + frame(0, b"", fin=False) * 99 + frame(0, b"x")) * 20,
    "small messages": frame(TEXT, b"x") * 2000,
    "large messages": frame(TEXT, b"x" * 100_000) * 4,
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of(server: Running, kind: str) -> None:
    sent, heard = 0, b""
    with Bystander(server):
        until = time.monotonic() + SECONDS
        # Some floods break a rule at last, and the connection is over: then there is another.
        while (left := until - time.monotonic()) > 0:
            with server.connect() as sock:
                if kind != "requests":
                    Raw(sock)
                taken, got = flood(sock, FLOODS[kind], left)
                sent, heard = sent + taken, heard or got
    assert sent > 100_000
    assert bool(heard) == (kind != "pongs")
    assert "Traceback" not in server.output


BROKEN = {
    "unmasked": frame(TEXT, b"unmasked", mask=None),
    "a reserved bit": frame(TEXT, b"", rsv=4),
    "a stray fragment": frame(0, b"stray"),
    "a long ping": frame(PING, b"x" * 126),
    "half a character": frame(TEXT, b"\xc3", fin=False) + frame(0, b"\xc3"),
    "a length of 2^63": b"\x82\xff\x80" + b"\0" * 7,
    "above the limit": frame(TEXT, b"x" * (1024 * 1024 + 1)),
}


def test_a_flood_of_broken_frames(server: Running) -> None:
    """Each of them ends its connection. tests/integration/test_connection.py checks the close codes."""

    def come() -> None:
        for sent in BROKEN.values():
            with server.connect() as sock, contextlib.suppress(ConnectionError):
                raw = Raw(sock)
                sock.sendall(sent)
                assert raw.close_code()[0] in (1002, 1007, 1009)

    with Bystander(server):
        assert repeat(come, hands=4) >= 4
    assert "Traceback" not in server.output


def test_a_flood_whose_answers_nobody_reads(server: Running) -> None:
    """Messages that are not read are not answered, so that the flood waits in the sockets and memory is bounded."""
    before = memory(server)
    with Bystander(server), server.connect() as first, server.connect() as second:
        Raw(first)
        flood(first, FLOODS["large messages"], 0.3, reads=False)
        Raw(second)
        flood(second, FLOODS["pings"], 0.3, reads=False)
        assert memory(server) - before < (2 * 64 + 10) * 1024


@pytest.mark.parametrize("size", [100, 100_000])
def test_a_broadcast_to_many(server: Running, size: int) -> None:
    """One message after the other goes to 200 clients, as fast as their sender receives them."""
    published = 0
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for _ in range(200):
            sock = stack.enter_context(server.connect())
            Raw(sock, "/all")
            sock.setblocking(False)
            selector.register(sock, selectors.EVENT_READ)
        publisher = Raw(stack.enter_context(server.connect()), "/all")

        def drain(stop: threading.Event) -> None:
            buffer = bytearray(1 << 18)
            while not stop.is_set():
                for key, _ in selector.select(0.1):
                    with contextlib.suppress(OSError):
                        while key.fileobj.recv_into(buffer):  # type: ignore[union-attr]
                            pass

        def publish(stop: threading.Event) -> None:
            nonlocal published
            while not stop.wait(0):
                publisher.send(TEXT, b"x" * size)
                assert publisher.receive() == (TEXT, b"x" * size)
                published += 1

        with Bystander(server), meanwhile(drain), meanwhile(publish):
            time.sleep(SECONDS)
    assert published >= 3


@pytest.mark.parametrize("path", ["/all", "/told"])
def test_a_room_that_is_flooded(server: Running, path: str) -> None:
    """Fault: six members flood 200, with and without a `deliver` pipeline, and other clients waited half a second."""
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            Raw(stack.enter_context(server.connect()), path)
        stack.enter_context(Bystander(server))
        for _ in range(6):
            sock = stack.enter_context(server.connect())
            Raw(sock, path)
            stack.enter_context(meanwhile(lambda _, sock=sock: flood(sock, frame(TEXT, b"x" * 100) * 100)))
    assert "Traceback" not in server.output


def test_many_floods_at_once(server: Running) -> None:
    """Twelve clients with one turn each. This test is the last, because the server is busy for seconds afterwards."""
    kinds = ["pings", "small messages", "empty fragments"]
    with contextlib.ExitStack() as stack:
        stack.enter_context(Bystander(server))
        for number in range(12):
            sock = stack.enter_context(server.connect())
            Raw(sock, "/quiet")
            data = FLOODS[kinds[number % 3]]
            stack.enter_context(meanwhile(lambda _, sock=sock, data=data: flood(sock, data, 0.3)))
