"""The connections of `[admin]`: who gives a place away when all are in use, and what ends with the process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket

from fws.server import admin
from fws.server.admin import AdminListener
from fws.wire.head import Takes
from tests.server.served import Served, everything, get

PLACES = 3
BODY = get("/login", "Content-Length: 4000", method="POST") + b"{"


class Answers:
    """An application that takes bodies, and whose answer at `/endless` has no end."""

    def takes(self, path: str) -> Takes | None:
        return Takes(body=4096, check=None)

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return _endless() if environ["PATH_INFO"] == "/endless" else [b"hello"]


def _endless() -> Iterator[bytes]:
    while True:
        gevent.sleep(0.001)
        yield b"x" * 60_000


class Operators(Served):
    """The listener of operators, with few places."""

    def __init__(self, folder: Path) -> None:
        super().__init__('[pipelines]\nmessage = ["echo"]\n', folder)
        self.listener.close()
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        sock.listen(16)
        self.port = sock.getsockname()[1]
        self.admin = self.listener = AdminListener(sock, Answers(), self.node)
        self.admin.start()


@pytest.fixture
def operators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operators]:
    monkeypatch.setattr(admin, "CONNECTIONS", PLACES)
    operators = Operators(tmp_path)
    yield operators
    operators.stop()


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n", get("/"), BODY, get("/endless")])
def test_visitors_without_a_key_do_not_keep_operators_and_probes_away(operators: Operators, sent: bytes) -> None:
    """A hundred connections that sent nothing, or read nothing, made `/readyz` answer 503 for ten seconds or more."""
    with contextlib.ExitStack() as visitors:
        for _ in range(2 * PLACES):
            visitor = visitors.enter_context(operators.connect())
            visitor.sendall(sent)
            gevent.sleep(0.02)
        gevent.sleep(0.3)  # until an answer that is not read fills the buffers
        assert operators.ask(get("/readyz", "Connection: close")).startswith(b"HTTP/1.1 200 OK\r\n")
        assert operators.admin.arriving <= PLACES + 1


def test_an_answer_without_end_ends_with_the_process(operators: Operators) -> None:
    """A tap went on for ever in a process that had handed over to its successor, and kept the former server."""
    with operators.connect() as sock:
        sock.sendall(get("/endless"))
        assert sock.recv(100)
        operators.admin.leave()
        operators.admin.finish()
        with gevent.Timeout(5):
            everything(sock)
