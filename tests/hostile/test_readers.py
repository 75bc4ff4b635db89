"""Slow readers, and clients that never read: they use memory up to a limit, and are then closed."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.hostile.attack import ECHO, clients, meanwhile, memory, until
from tests.hostile.bystander import Bystander
from tests.integration.conftest import Serve
from tests.integration.raw import PING, PONG, TEXT, Raw

pytestmark = pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"], indirect=True)

MIB = 1024
ROOM = """
[limits]
max_outbox = "256KiB"
close_timeout = "1s"
[endpoints."/all"]
connect = ["join all"]
[endpoints."/say"]
message = ["publish all"]
"""
SLOW, FAST = 60, 40


def test_slow_readers_are_ended_and_nobody_else_misses_a_message(serve: Serve) -> None:
    """Fault C5 of gevent-websocket. Some of the slow clients read a little, which does not help them."""
    server = serve(ROOM + ECHO)
    payload = b"x" * 50_000
    slow: list[Raw] = []
    fast: list[Raw] = []
    counts = [0] * FAST
    with contextlib.ExitStack() as stack:
        for number in range(SLOW + FAST):
            sock = stack.enter_context(server.connect())
            if number < SLOW:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            (slow if number < SLOW else fast).append(Raw(sock, "/all"))
        before = memory(server)

        def read(number: int) -> None:
            for _ in range(100):
                assert fast[number].receive() == (TEXT, payload)
                counts[number] += 1

        def sip(stop: threading.Event) -> None:
            while not stop.wait(0.02):
                for raw in slow[: SLOW // 2]:
                    with contextlib.suppress(OSError):
                        raw.sock.recv(100)

        with Bystander(server), contextlib.ExitStack() as readers:
            readers.enter_context(meanwhile(sip))
            for number in range(FAST):
                readers.enter_context(meanwhile(lambda _, number=number: read(number)))
            # It hears nothing: OpenSSL's objects are not for two threads.
            with server.connect() as sock:
                publisher = Raw(sock, "/say")
                for _ in range(100):
                    publisher.send(TEXT, payload)
                publisher.send(PING)
                assert publisher.receive()[0] == PONG
        assert counts == [100] * FAST
        assert memory(server) - before < SLOW * 256 + 24 * MIB
        # They are told why, if they ever look, and are cut off.
        codes = []
        for raw in slow[SLOW // 2 :]:
            with contextlib.suppress(EOFError, OSError):
                codes.append(raw.close_code())
        assert all(code == (1013, "too slow") for code in codes)
        until(lambda: clients(server) <= FAST)
    assert "Traceback" not in server.output


def test_a_client_that_requests_pages_without_reading_delays_nobody(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "conf" / "pages").mkdir(parents=True)
    (tmp_path / "conf" / "pages" / "large.bin").write_bytes(b"x" * 20_000_000)
    server = serve('[server]\nstatic = "pages"' + ECHO)
    with contextlib.ExitStack() as stack:
        stack.enter_context(Bystander(server))
        before = memory(server)
        for _ in range(40):
            sock = stack.enter_context(server.connect())
            sock.sendall(b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n" * 5)
            assert sock.recv(12) == b"HTTP/1.1 200"
        time.sleep(0.3)
        assert memory(server) - before < 40 * MIB
    assert "Traceback" not in server.output
