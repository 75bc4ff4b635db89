"""Bodies of requests: how they arrive, that they end where they end, and what a peer cannot do with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from fws.base.errors import Refusal
from fws.wire.head import Head, Takes
from tests.server.served import Served, everything, get, upgrade

TOML = """
[limits]
handshake_timeout = "400ms"
[pipelines]
message = ["echo"]
"""


class Mirror:
    """Answers with the body, or with the path of a request without one."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def takes(self, path: str) -> Takes | None:
        if path == "/guarded":
            return Takes(check=self._check)
        return Takes(body=100_000) if path.startswith("/post") else None

    @staticmethod
    def _check(head: Head, address: str) -> None:
        if head.get("x-key") != f"of {address}":
            raise Refusal(401, "The key is wrong.")

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read()
        self.bodies.append(body)
        answer = body or environ["PATH_INFO"].encode()
        if environ["PATH_INFO"] == "/post/unread":
            answer = b"unread"
        start_response("200 OK", [("Content-Length", str(len(answer)))])
        return [answer]


@pytest.fixture
def mirror() -> Mirror:
    return Mirror()


@pytest.fixture
def served(tmp_path: Path, mirror: Mirror) -> Iterator[Served]:
    served = Served(TOML, tmp_path, application=mirror)
    yield served
    served.stop()


def post(path: str, body: bytes, *lines: str) -> bytes:
    return get(path, f"Content-Length: {len(body)}", *lines, method="POST") + body


LAST = get("/last", "Connection: close")


def test_a_body_and_the_next_request_in_one_piece(served: Served) -> None:
    received = served.ask(post("/post", b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n") + LAST)
    assert received.count(b"HTTP/1.1 200 OK") == 2
    assert b"\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\nHTTP/1.1 200" in received
    assert received.endswith(b"/last")


def test_a_body_that_nobody_reads_is_not_the_next_request(served: Served) -> None:
    received = served.ask(post("/post/unread", get("/smuggled")) + LAST)
    assert received.count(b"HTTP/1.1 ") == 2
    assert b"smuggled" not in received


def test_a_body_in_many_pieces(served: Served, mirror: Mirror) -> None:
    body = bytes(range(256)) * 300
    with served.connect() as sock:
        data = post("/post", body) + LAST
        for start in range(0, len(data), 7000):
            sock.sendall(data[start : start + 7000])
            gevent.sleep(0)
        assert everything(sock).endswith(b"/last")
    assert mirror.bodies[0] == body


def test_an_empty_body(served: Served, mirror: Mirror) -> None:
    assert served.ask(post("/post", b"") + LAST).count(b"HTTP/1.1 200 OK") == 2
    assert mirror.bodies == [b"", b""]


def test_a_client_that_waits_for_a_continue_gets_it_once(served: Served) -> None:
    with served.connect() as sock:
        sock.sendall(get("/post", "Content-Length: 3", "Expect: 100-continue", "Connection: close", method="POST"))
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"abc")
        received = everything(sock)
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert received.endswith(b"\r\n\r\nabc")


def test_a_refused_body_is_not_asked_for(served: Served, mirror: Mirror) -> None:
    """A client that waits for a continue gets the refusal in its place."""
    head = get("/guarded", "Content-Length: 3", "Expect: 100-continue", method="POST")
    received = served.ask(head)
    assert received.startswith(b"HTTP/1.1 401 ")
    assert received.endswith(b"The key is wrong.\n")
    assert served.node.context.metrics["refused_401"] == 1
    assert not mirror.bodies


def test_who_passes_the_check_is_served(served: Served) -> None:
    assert served.ask(post("/guarded", b"abc", "X-Key: of 127.0.0.1", "Connection: close")).endswith(b"abc")


def test_a_body_that_does_not_come_gets_408(served: Served, mirror: Mirror) -> None:
    """Also on a connection that was kept after another request."""
    for before in (b"", post("/post", b"x")):
        with served.connect() as sock:
            sock.sendall(before + get("/post", "Content-Length: 30", method="POST") + b"a few")
            assert b"HTTP/1.1 408 " in everything(sock)
    assert mirror.bodies == [b"x"]


def test_a_request_late_on_a_kept_connection_has_the_whole_time_for_its_body(served: Served) -> None:
    with served.connect() as sock:
        gevent.sleep(0.3)
        sock.sendall(get("/post", "Content-Length: 3", "Connection: close", method="POST"))
        gevent.sleep(0.3)
        sock.sendall(b"abc")
        assert everything(sock).endswith(b"abc")


def test_a_peer_that_leaves_within_its_body_is_not_served(served: Served, mirror: Mirror) -> None:
    with served.connect() as sock:
        sock.sendall(get("/post", "Content-Length: 30", method="POST") + b"a few")
    assert served.ask(LAST).endswith(b"/last")
    assert mirror.bodies == [b""]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (post("/elsewhere", b"abc"), 405),
        (get("/post", method="POST"), 411),
        (get("/post", "Transfer-Encoding: chunked", method="POST") + b"3\r\nabc\r\n0\r\n\r\n", 411),
        (get("/post", "Content-Length: 100001", method="POST"), 413),
        (get("/post", "Content-Length: 3", "Content-Length: 4", method="POST") + b"abc", 400),
        (get("/post", "Content-Length: 3", "Transfer-Encoding: chunked", method="POST") + b"abc", 400),
        (upgrade("/post", "Content-Length: 3").replace(b"GET", b"POST") + b"abc", 405),
        (upgrade("/post", "Content-Length: 3") + b"abc", 400),
    ],
)
def test_a_refused_body_ends_the_connection(served: Served, mirror: Mirror, data: bytes, status: int) -> None:
    received = served.ask(data + LAST)
    assert received.startswith(b"HTTP/1.1 %d " % status)
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close" in received
    assert not mirror.bodies
