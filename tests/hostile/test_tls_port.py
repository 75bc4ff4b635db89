"""The TLS port: endless handshakes, incomplete ones, and connections that are not TLS."""

from __future__ import annotations

import contextlib
import os
import ssl
import time

import pytest

from tests.hostile.attack import ECHO, answer, descriptors, repeat, until
from tests.hostile.bystander import Bystander
from tests.integration.conftest import Running, Serve


@pytest.fixture(scope="module")
def server(shared: dict[bool, Serve]) -> Running:
    return shared[True]('[limits]\nhandshake_timeout = "1s"\n' + ECHO)


def hello(server: Running) -> bytes:
    """The first TLS message of a client."""
    assert server.tls is not None
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        server.tls.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


def test_a_flood_of_handshakes(server: Running) -> None:
    with Bystander(server):
        assert repeat(lambda: server.connect().close(), hands=4) > 20


def test_a_flood_of_hellos_that_cost_their_sender_nothing(server: Running) -> None:
    """The server signs for each of them. The sender has computed one, and does not read the answers."""
    first = hello(server)

    def come() -> None:
        with server.connect_tcp() as tcp, contextlib.suppress(ConnectionError):
            tcp.sendall(first)
            assert tcp.recv(5)[:3] == b"\x16\x03\x03"

    with Bystander(server):
        assert repeat(come, hands=4) > 20


def test_a_connection_that_is_not_tls_is_closed_with_at_most_a_short_line(server: Running) -> None:
    first = hello(server)
    pieces = {
        "HTTP": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "the beginning of a long record": b"\x16\x03\x01\x40\x00" + b"x" * 300,
        "zeros": b"\0" * 5000,
        "noise": os.urandom(20_000),
        "a broken hello": first[:40] + os.urandom(40) + first[80:],
        "two hellos": first * 2,
        "an alert": b"\x15\x03\x01\x00\x02\x02\x28",
        "application data": b"\x17\x03\x03\x00\x20" + b"x" * 32,
    }
    lines = len(server.lines)

    def come() -> None:
        for garbage in pieces.values():
            with server.connect_tcp() as tcp:
                tcp.settimeout(5)
                if garbage.startswith(b"\x16\x03\x01\x40"):
                    tcp.sendall(garbage)  # its rest is waited for, in the time of the handshake
                else:
                    answer(tcp, garbage)

    with Bystander(server):
        assert repeat(come, hands=4) >= 4
    said = server.lines[lines:]
    assert len(said) < 20
    assert all(len(line) < 300 for line in said)
    assert "Traceback" not in server.output


def test_hellos_that_dawdle_are_ended_in_the_time_of_the_handshake(server: Running) -> None:
    files = descriptors(server)
    first = hello(server)
    with contextlib.ExitStack() as stack, Bystander(server):
        began = time.monotonic()
        silent, half, slow = ([stack.enter_context(server.connect_tcp()) for _ in range(50)] for _ in range(3))
        # Whose handshake is done and who then says nothing: the time is one for TLS and the request head together.
        shaken = [stack.enter_context(server.connect()) for _ in range(20)]
        for tcp in half:
            tcp.sendall(first[:100])
        for number in range(100):
            for tcp in slow:
                with contextlib.suppress(OSError):
                    tcp.sendall(first[number : number + 1])
            time.sleep(0.01)
        for tcp in (*silent, *half, *slow):
            assert answer(tcp, b"") == b""
        for sock in shaken:
            assert answer(sock, b"").startswith(b"HTTP/1.1 408 ")
        assert 0.5 < time.monotonic() - began < 6
    until(lambda: descriptors(server) <= files + 1)
    assert "Traceback" not in server.output
