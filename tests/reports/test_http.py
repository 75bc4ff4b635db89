"""Requests of health checks, proxies, old clients and confused clients."""

from __future__ import annotations

import contextlib
import socket

import pytest

from tests.integration.conftest import Running, Serve
from tests.integration.raw import PING, PONG, TEXT, Raw, request
from tests.integration.test_connection import answer


@pytest.fixture(scope="module")
def server(shared: Serve) -> Running:
    """A server that logs at the level `debug`, where every request and every refusal has a line."""
    return shared('[endpoints."/ws"]\nsubprotocols = ["chat"]\nmessage = ["echo"]\n', "--log-level", "debug")


def head(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request("/ws").replace(b"GET", b"HEAD"), 405),
        (head("HEAD /nothing HTTP/1.1", "Host: localhost", "Connection: close"), 404),
        (head("HEAD /healthz HTTP/1.1", "Host: localhost", "Connection: close"), 200),
        (head("HEAD /% HTTP/1.1", "Host: localhost"), 400),
        (head("HEAD / HTTP/1.1"), 400),
        (head("HEAD / HTTP/1.1", "Host: localhost", "X: " + "x" * 9000), 431),
    ],
    ids=["upgrade", "unknown path", "health", "bad path", "no host", "long header"],
)
def test_an_answer_to_head_has_no_body(server: Running, sent: bytes, status: int) -> None:
    """Fault: refusals had a body after their headers, which HEAD forbids (RFC 9110 9.3.2).

    https://github.com/python-websockets/websockets/issues/1677: a server failed at HEAD.
    """
    with server.connect() as sock:
        headers, _, body = answer(sock, sent).partition(b"\r\n\r\n")
    assert headers.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"Content-Length: " in headers
    assert body == b""


def test_an_empty_list_of_subprotocols_is_accepted(server: Running) -> None:
    """Fault: it was refused with 400. https://github.com/miguelgrinberg/Flask-SocketIO/issues/466 shows the request of
    a client for microcontrollers that
    always sends the header; https://github.com/websockets/ws/pull/2016 has servers that do.
    """
    with server.connect() as sock:
        raw = Raw(sock, "/ws", "Sec-WebSocket-Protocol:")
        assert b"sec-websocket-protocol" not in raw.head.lower()
        raw.send(TEXT, b"hello")
        assert raw.receive() == (TEXT, b"hello")


# A TLS 1.2 hello as browsers send it, as far as it matters: a record, its length, and a list that begins with 00 0a.
HELLO = b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03" + bytes(32) + b"\x00\x0a\x00\x08"


@pytest.mark.parametrize(
    ("sent", "advice"),
    [
        (HELLO, b"[server.tls]"),
        (HELLO[:5], b"[server.tls]"),
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 443\r\n" + request("/ws"), b"proxy_protocol = true"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12) + request("/ws"), b"proxy_protocol = true"),
    ],
    ids=["TLS", "TLS, its beginning", "PROXY 1", "PROXY 2"],
)
def test_another_protocol_is_refused_at_once_and_by_name(server: Running, sent: bytes, advice: bytes) -> None:
    """Fault: the reason mentioned a carriage return, and a TLS hello without a line feed was held for 10 s.

    https://github.com/miguelgrinberg/Flask-SocketIO/issues/1451: the user of a plain port connects with https, and the
    log shows unreadable bytes.
    """
    with server.connect() as sock:
        sock.settimeout(3)
        received = answer(sock, sent)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert advice in received
    server.wait_for(r"refused 127\.0\.0\.1: 400 .*" + advice.decode().replace("[", r"\["))


@pytest.mark.parametrize("path", ["/ws", "/healthz", "/nothing"])
@pytest.mark.parametrize(
    ("lines", "advice"),
    [
        ({"Upgrade: websocket\r\n": "", "Connection: Upgrade": "Connection: close"}, b"pass the headers Upgrade and"),
        ({"Connection: Upgrade": "Connection: close"}, b"pass the headers Upgrade and"),
        ({"HTTP/1.1": "HTTP/1.0", "Upgrade: websocket\r\n": ""}, b"proxy_http_version 1.1"),
    ],
    ids=["no Upgrade", "no Connection", "HTTP/1.0"],
)
def test_an_upgrade_that_a_proxy_has_spoiled_is_refused_with_the_reason(
    server: Running, path: str, lines: dict[str, str], advice: bytes
) -> None:
    """Fault: an upgrade request that a proxy had spoiled was answered with a page and 200, or with 404.

    https://github.com/miguelgrinberg/Flask-SocketIO/issues/543 and https://github.com/django/daphne/issues/191: the
    browser reports an unexpected 200 or 404, and nothing says that nginx has removed `Upgrade`.
    """
    spoiled = request(path).decode()
    for old, new in lines.items():
        assert old in spoiled
        spoiled = spoiled.replace(old, new)
    with server.connect() as sock:
        received = answer(sock, spoiled.encode())
    assert received.startswith(b"HTTP/1.1 400 ")
    assert advice in received


@pytest.mark.parametrize("lines", [["Connection: upgrade"], ["Connection: upgrade", "Upgrade:"]])
def test_plain_requests_pass_a_proxy_that_adds_upgrade_headers_to_all(server: Running, lines: list[str]) -> None:
    """https://github.com/centrifugal/centrifugo/issues/491: behind nginx a page got 400.

    Many configurations send `Connection: upgrade` with every request, and an empty `Upgrade` where there was none.
    """
    with server.connect() as sock:
        sock.sendall(head("GET /healthz HTTP/1.1", "Host: localhost", *lines))
        assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("cookie", ["name=ü€; b=2".encode(), "name=ü".encode("latin-1"), b'a; =b; "c"; d=e=f'])
def test_cookies_of_any_bytes_do_not_stop_a_handshake(server: Running, cookie: bytes) -> None:
    """https://github.com/django/channels/issues/1450: a cookie of another application, not ASCII, made a 500."""
    with server.connect() as sock:
        sock.sendall(request("/ws").replace(b"\r\n\r\n", b"\r\nCookie: " + cookie + b"\r\n\r\n"))
        assert sock.recv(4096).startswith(b"HTTP/1.1 101 ")


def test_a_character_in_pieces_passes_while_everything_is_logged(server: Running) -> None:
    """https://github.com/python-websockets/websockets/pull/1711: half of a character ended a connection at debug."""
    pieces = "🎉".encode()
    with server.connect() as sock:
        raw = Raw(sock, "/ws")
        raw.send(TEXT, pieces[:1], fin=False)
        raw.send(PING, pieces[:2])
        raw.send(0, pieces[1:3], fin=False)
        raw.send(0, pieces[3:])
        assert raw.receive() == (PONG, pieces[:2])
        assert raw.receive() == (TEXT, pieces)


def test_connections_that_send_nothing_or_half_a_request_leave_no_traceback(server: Running) -> None:
    """https://github.com/python-websockets/websockets/issues/1586: a load balancer's check of the port was an error."""
    for sent in (b"", b"GET /ws HT", request("/ws")[:-2], b"\0\xff\r\n\r\n"):
        with server.connect() as sock:
            sock.sendall(sent)
            sock.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                while sock.recv(4096):
                    pass
    with server.connect() as sock:
        Raw(sock, "/ws")
    assert "Traceback" not in server.output
    assert " error " not in server.output
