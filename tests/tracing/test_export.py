"""What the server takes from a collector."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from fws.tracing.export import MAX_ANSWER, Session

SIZE = 10 << 30
PIECE = b"x" * (1 << 20)


class _Endless(BaseHTTPRequestHandler):
    """Answers with 10 GiB."""

    server: Hostile

    def do_POST(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(SIZE))
        self.end_headers()
        try:
            while not self.server.over.is_set():
                self.server.sent += self.wfile.write(PIECE)
        except OSError:
            pass

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class Hostile(HTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Endless)
        self.sent = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    made = Hostile()
    yield made
    made.over.set()
    made.shutdown()
    made.thread.join()
    made.server_close()


def test_of_a_collectors_answer_little_is_read(hostile: Hostile) -> None:
    """All of it was kept in memory: 3 GB, while the event loop stood still for four seconds."""
    with Session() as session:
        answer = session.post(hostile.url, b"spans", timeout=5)
        assert answer.ok
        assert len(answer.content) == MAX_ANSWER
    assert hostile.sent < 100 * len(PIECE)
