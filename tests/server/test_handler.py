"""One connection up to the 101: requests in a row, refusals and their reasons, and time limits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.served import Served, everything, get, upgrade

TOML = """
[server]
origins = ["https://example.org"]
static = "static"
[limits]
handshake_timeout = "300ms"
[endpoints."/chat/{room}"]
connect = ["reply welcome"]
message = ["echo"]
[endpoints."/closed"]
connect = ["reject 403 'Members only.'"]
[endpoints."/slow"]
connect = ["slow"]
"""
# This process is not patched, so that the filter blocks with gevent's own function.
SLOW = """
import gevent
from fws import Filter


class Slow(Filter):
    def connect(self, client):
        gevent.sleep(60)
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "page.txt").write_text("hello")
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "slow.py").write_text(SLOW)
    served = Served(TOML, tmp_path)
    yield served
    served.stop()


def test_several_requests_share_a_connection(served: Served) -> None:
    """The second request may arrive together with the first."""
    received = served.ask(get("/page.txt") + get("/page.txt", "Connection: close"))
    assert received.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert received.endswith(b"hello")


def test_a_head_request_gets_headers_only(served: Served) -> None:
    received = served.ask(get("/page.txt", "Connection: close", method="HEAD"))
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"Content-Length: 5" in head
    assert body == b""


def test_the_101_and_messages_of_connect_are_sent_together(served: Served) -> None:
    with served.connect() as sock:
        sock.sendall(upgrade("/chat/tea"))
        received = sock.recv(4096)
    head, _, frames = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
    assert frames == b"\x81\x07welcome"


def test_frames_may_arrive_together_with_the_request(served: Served) -> None:
    with served.connect() as sock:
        sock.sendall(upgrade("/chat/tea") + b"\x81\x82\0\0\0\0hi")
        received = b""
        while not received.endswith(b"\x81\x02hi"):
            received += sock.recv(4096)


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        (upgrade("/nowhere"), 404, "There is no endpoint at this path."),
        (upgrade("/closed"), 403, "Members only."),
        (upgrade("/chat/tea", "Origin: https://evil.example"), 403, "Pages of this origin may not connect here."),
        (upgrade("/chat/tea").replace(b"Version: 13", b"Version: 8"), 426, "Only version 13 of WebSocket is served."),
        (b"GET / HTTP/1.1\r\nbroken\r\n\r\n", 400, 'Header line 1 is not "name: value"'),
        (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501, "This method is not known here"),
    ],
)
def test_a_refusal_has_its_status_and_reason_and_is_counted(
    served: Served, request_: bytes, status: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    received = served.ask(request_)
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"Connection: close" in head
    assert body.decode().startswith(reason)
    assert served.node.context.metrics[f"refused_{status}"] == 1
    assert any(message.startswith(f"refused 127.0.0.1: {status} ") for message in caplog.messages)
    assert not served.node.hub.everybody()


def test_a_refused_head_request_has_no_body(served: Served) -> None:
    received = served.ask(get("/page.txt", "Content-Length: 3", method="HEAD"))
    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.endswith(b"\r\n\r\n")


def test_the_query_is_not_logged(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """It may contain a token."""
    caplog.set_level("DEBUG")
    served.ask(upgrade("/closed?token=s3cret"))
    served.ask(get("/missing?token=s3cret", "Connection: close"))
    assert "(GET /closed?… HTTP/1.1)" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("begun", [b"", b"GET / HT"], ids=["nothing", "a part"])
def test_a_request_that_takes_too_long_gets_408(served: Served, begun: bytes) -> None:
    with served.connect() as sock:
        sock.sendall(begun)
        assert everything(sock).startswith(b"HTTP/1.1 408 ")
    assert served.node.context.metrics["handshake_timeouts"] == 1


def test_a_kept_connection_without_a_further_request_is_no_timeout(served: Served) -> None:
    """Fault: each scrape of a monitoring system that keeps its connections counted as one."""
    assert served.ask(get("/missing")).startswith(b"HTTP/1.1 404 ")
    assert served.node.context.metrics["handshake_timeouts"] == 0


def test_filters_of_connect_have_the_same_time_limit(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    received = served.ask(upgrade("/slow"))
    assert received.startswith(b"HTTP/1.1 503 ")
    assert "the connect pipeline took longer than handshake_timeout at /slow" in caplog.text
    assert not served.node.hub.everybody()


def test_upgrades_are_refused_while_draining(served: Served) -> None:
    served.listener.draining = True
    received = served.ask(upgrade("/chat/tea"))
    assert received.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 5" in received


def test_a_peer_that_leaves_during_a_response_disturbs_nobody(served: Served) -> None:
    for _ in range(10):
        with served.connect() as sock:
            sock.sendall(get("/page.txt") * 100)
    assert served.ask(get("/page.txt", "Connection: close")).endswith(b"hello")
