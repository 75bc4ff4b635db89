"""Compression bombs: messages that become a thousand times larger, in one frame, in many, and from many clients."""

from __future__ import annotations

import contextlib
import functools
import random
import socket
import string
import threading
import time
import zlib
from collections.abc import Callable

import pytest

from tests.hostile.attack import ECHO, PATIENT, flood, meanwhile, memory, repeat
from tests.hostile.bystander import Bystander
from tests.integration.conftest import Running, Serve
from tests.integration.raw import TEXT, Raw, frame

MIB = 1024
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


Servers = Callable[[bool], Running]


@pytest.fixture(scope="module")
def servers(shared: dict[bool, Serve]) -> Servers:
    """One server without TLS and one with it, started when they are first asked for."""
    toml = f"[server]\ncompression = true\n{ECHO}[endpoints.'/quiet']\nmessage = ['drop']\n"
    toml += "[endpoints.'/patient']\nmessage = ['patient', 'echo']\n"
    toml += "[endpoints.'/room']\nconnect = ['join all']\n[endpoints.'/say']\nmessage = ['publish all', 'drop']\n"
    return functools.cache(lambda tls: shared[tls](toml, pipelines={"patient": PATIENT}))


both = pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])


def deflated(size: int) -> bytes:
    """This many zeros as a message, which compresses 1,030 to 1."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (compressor.compress(bytes(size)) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def fragments(payload: bytes, size: int) -> bytes:
    pieces = [payload[start : start + size] for start in range(0, len(payload), size)]
    last = len(pieces) - 1
    return b"".join(
        frame(0 if number else TEXT, piece, fin=number == last, rsv=0 if number else 4)
        for number, piece in enumerate(pieces)
    )


LARGE = deflated(200_000_000)
BOMBS = {
    "whole": frame(TEXT, LARGE, rsv=4),
    "in large fragments": fragments(LARGE, 16_000),
    "in tiny fragments": fragments(LARGE[:20_000], 2),
}


@both
@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_stopped_at_the_message_limit(servers: Servers, tls: bool, kind: str) -> None:
    server = servers(tls)
    before = memory(server)

    def throw() -> None:
        with server.connect() as sock:
            raw = Raw(sock, "/", DEFLATE)
            assert b"permessage-deflate" in raw.head
            with contextlib.suppress(ConnectionError):
                sock.sendall(BOMBS[kind])
            with contextlib.suppress(ConnectionError):
                assert raw.close_code()[0] == 1009

    with Bystander(server):
        assert repeat(throw, hands=4) >= 8
        assert memory(server) - before < 24 * MIB
    assert "Traceback" not in server.output


@both
def test_messages_just_below_the_limit_one_after_the_other(servers: Servers, tls: bool) -> None:
    """Each message is a kilobyte that becomes a megabyte, which is within the limits."""
    server = servers(tls)
    before = memory(server)
    data = frame(TEXT, deflated(1_000_000), rsv=4) * 100
    with Bystander(server), server.connect() as sock:
        Raw(sock, "/quiet", DEFLATE)
        flood(sock, data)
        assert memory(server) - before < 24 * MIB
    with Bystander(server), server.connect() as sock:
        Raw(sock, "/", DEFLATE)
        flood(sock, data)
    assert "Traceback" not in server.output


@pytest.mark.parametrize(
    ("tls", "path"),
    [(False, "/quiet"), (False, "/"), (False, "/patient"), (True, "/")],
    ids=["dropped", "echoed", "in greenlets", "over TLS"],
)
def test_many_clients_that_send_such_messages_at_once(servers: Servers, tls: bool, path: str) -> None:
    """Fault: twelve clients take ten milliseconds and more each, and 200 ms together in one round of the loop."""
    server = servers(tls)
    data = frame(TEXT, deflated(1_000_000), rsv=4) * 20
    with contextlib.ExitStack() as stack:
        stack.enter_context(Bystander(server))
        socks = [stack.enter_context(server.connect()) for _ in range(12)]
        for sock in socks:
            Raw(sock, path, DEFLATE)
        for sock in socks:
            stack.enter_context(meanwhile(lambda _, sock=sock: flood(sock, data, 0.4)))
        # Meanwhile others come in: a TLS handshake has its turn as well.
        came = time.monotonic()
        with server.connect() as sock:
            Raw(sock)
        assert time.monotonic() - came < 5


def test_a_room_whose_members_have_agreed_on_seven_windows(servers: Servers) -> None:
    """Fault: each message is compressed once for each window, and a batch of them took 150 ms in one turn."""
    server = servers(False)
    letters = random.Random(1).choices(string.ascii_lowercase + " ", k=300_000)
    data = frame(TEXT, "".join(letters).encode())
    with contextlib.ExitStack() as stack:
        for bits in range(9, 16):
            sock = stack.enter_context(server.connect())
            Raw(sock, "/room", f"{DEFLATE}; server_max_window_bits={bits}")
            stack.enter_context(meanwhile(lambda stop, sock=sock: read_all(sock, stop)))
        stack.enter_context(Bystander(server))
        for _ in range(6):
            sock = stack.enter_context(server.connect())
            Raw(sock, "/say")
            stack.enter_context(meanwhile(lambda _, sock=sock: flood(sock, data)))


def read_all(sock: socket.socket, stop: threading.Event) -> None:
    sock.settimeout(0.05)
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            sock.recv(1 << 20)
