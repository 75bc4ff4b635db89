"""Handshakes: many, incomplete and slow ones, and request heads that are huge, ambiguous or forged."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable

import pytest

from tests.hostile.attack import ECHO, SECONDS, answer, connect_from, descriptors, memory, repeat, status, until
from tests.hostile.bystander import Bystander
from tests.integration.conftest import Running, Serve
from tests.integration.raw import request

HURRY = '[limits]\nhandshake_timeout = "1s"\n'


CONF = """
[api]
key = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
path = "/api"
[endpoints."/"]
message = ["echo"]
"""
Servers = Callable[[bool], Running]


@pytest.fixture(scope="module")
def servers(shared: dict[bool, Serve]) -> Servers:
    """One server without TLS and one with it, started when they are first asked for."""
    return functools.cache(lambda tls: shared[tls](CONF))


GET = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /api/info HTTP/1.1\r\nHost: a\r\nX-API-Key: " + b"k" * 32 + b"\r\n"
# Each is sent with a second request behind it, which must not be answered.
AMBIGUOUS = {
    "an underscore in a length": (GET + b"Content-Length: 1_0\r\n\r\n0123456789", 400),
    "a sign in a length": (GET + b"Content-Length: +3\r\n\r\nabc", 400),
    "two lengths": (GET + b"Content-Length: 3\r\nContent-Length: 5\r\n\r\nabc", 400),
    "two equal lengths": (GET + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    "gzip, chunked": (GET + b"Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 501),
    "vertical tab chunked": (GET + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "chunked and a length": (GET + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
    "a blank before the colon": (GET + b"Content-Length : 3\r\n\r\nabc", 400),
    "a folded line": (GET + b"X: a\r\n b\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /\r\n", 505),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "bare line feeds": (GET.replace(b"\r\n", b"\n") + b"\n", 400),
    "a bare carriage return": (GET + b"X: a\rb\r\n\r\n", 400),
    "a NUL": (GET + b"X: a\0b\r\n\r\n", 400),
    "no Host": (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (GET + b"Host: b\r\n\r\n", 400),
    "a wrong Host": (b"GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "absolute form with userinfo": (b"GET http://a@b/healthz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "megabytes of headers": (GET + b"".join(b"X%d: %s\r\n" % (n, b"y" * 8000) for n in range(90)), 431),
    "a hundred and one headers": (GET + b"X: y\r\n" * 100 + b"\r\n", 431),
    "a long line": (GET + b"X: " + b"y" * 9000 + b"\r\n\r\n", 431),
    "a long target": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "POST": (GET.replace(b"GET", b"POST") + b"Content-Length: 3\r\n\r\nabc", 405),
    "a body": (GET + b"Content-Length: 3\r\n\r\nabc", 400),
    "OPTIONS": (GET.replace(b"GET", b"OPTIONS") + b"\r\n", 405),
    "CONNECT": (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "a POST without a length": (POST + b"\r\n{}", 411),
    "a POST in chunks": (POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 411),
    "a POST with gzip, chunked": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 501),
    "a POST with two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 4\r\n\r\n{}", 400),
    "a POST with a length and chunks": (
        POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "a POST with a sign in its length": (POST + b"Content-Length: +2\r\n\r\n{}", 400),
    "a POST that is too large": (POST + b"Content-Length: 99999999999\r\n\r\n", 413),
    "a POST that expects something else": (POST + b"Content-Length: 2\r\nExpect: tea\r\n\r\n{}", 417),
    "a POST without the key": (POST.replace(b"k" * 32, b"x") + b"Content-Length: 2\r\n\r\n{}", 401),
    "a POST that asks for a WebSocket": (
        POST + b"Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\n{}",
        405,
    ),
    "OPTIONS of the API": (POST.replace(b"POST", b"OPTIONS") + b"\r\n", 405),
    "TRACE": (GET.replace(b"GET", b"TRACE") + b"\r\n", 405),
}


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_an_ambiguous_request_gets_one_refusal_and_is_closed(servers: Servers, tls: bool) -> None:
    server = servers(tls)

    def come() -> None:
        for name, (sent, refusal) in AMBIGUOUS.items():
            with server.connect() as sock:
                got = answer(sock, sent + GET + b"\r\n")
                assert got.startswith(b"HTTP/1.1 %d " % refusal), (name, got)
                assert got.count(b"HTTP/1.1 ") == 1, (name, got)
                assert b"connection: close" in got.lower(), name

    with Bystander(server):
        repeat(come)
    assert "Traceback" not in server.output


HEADS = {
    "none": b"",
    "half": request()[:40],
    "whole": request(),
    "refused": request("/nowhere/" + "a" * 2000),
    "endless lines": GET + b"X: " + b"y" * 1_000_000,
    "endless headers": GET + b"X: y\r\n" * 100_000,
    "endless target": b"GET /" + b"a" * 1_000_000,
    "many escapes": b"GET /" + b"%41" * 2500 + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
}


@pytest.mark.parametrize(
    ("tls", "kind"),
    [*((False, kind) for kind in HEADS), *((True, kind) for kind in ("none", "whole", "endless headers"))],
    ids=[*HEADS, "none over TLS", "whole over TLS", "endless headers over TLS"],
)
def test_a_flood_of_connections_with_a_head(servers: Servers, tls: bool, kind: str) -> None:
    server = servers(tls)
    with Bystander(server):
        before = memory(server)

        def come() -> None:
            with server.connect() as sock, contextlib.suppress(ConnectionError):
                sock.sendall(HEADS[kind])
                if "endless" in kind or kind in ("refused", "many escapes"):
                    assert answer(sock, b"").startswith(b"HTTP/1.1 4")
                elif kind == "whole":
                    assert sock.recv(4096).startswith(b"HTTP/1.1 101 ")

        assert repeat(come, hands=4) >= 20
        assert memory(server) - before < 16 * 1024
    assert "Traceback" not in server.output


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"], indirect=True)
def test_heads_that_dawdle_are_ended_in_the_time_of_the_handshake(serve: Serve) -> None:
    """A hundred heads arrive byte by byte, a hundred stop half-way, and a hundred clients are silent."""
    server = serve(HURRY + ECHO)
    files = descriptors(server)
    with contextlib.ExitStack() as stack:
        bystander = stack.enter_context(Bystander(server))
        began = time.monotonic()
        slow, half, silent = ([stack.enter_context(server.connect()) for _ in range(100)] for _ in range(3))
        for sock in half:
            sock.sendall(GET)
        connected = time.monotonic() - began
        for number in range(len(long := request("/" + "a" * 1000))):
            if time.monotonic() - began > connected + 1.5:
                break
            for sock in slow:
                with contextlib.suppress(OSError):
                    sock.sendall(long[number : number + 1])
            time.sleep(0.01)
        for sock in (*half, *silent):
            assert answer(sock, b"").startswith(b"HTTP/1.1 408 ")
        for sock in slow:
            # What it sends to the closed connection resets it, perhaps before it reads why.
            assert answer(sock, b"")[:13] in (b"HTTP/1.1 408 ", b"")
        assert time.monotonic() - began < connected + 5
        until(lambda: descriptors(server) <= files + 1)
    assert bystander.echoes > 50
    assert "Traceback" not in server.output


def test_a_forged_address_is_ignored(serve: Serve) -> None:
    """Otherwise connections would not be limited, because each could claim another address."""
    toml = '[limits]\nexempt = []\nconnections_per_address = "20/s"\nclients_per_address = 15\n'
    server = serve(f'[server]\ntrusted_proxies = ["10.0.0.0/8"]\nproxy_protocol = true\n{toml}{ECHO}')
    seen: list[int] = []
    with Bystander(server, source="127.0.0.9"):

        def come() -> None:
            forged = f"192.0.2.{len(seen) % 250}"
            lines = [f"X-Forwarded-For: {forged}", f"Forwarded: for={forged}", f"X-Real-IP: {forged}"]
            seen.append(status(server, *lines))

        repeat(come, hands=4)
        with server.connect() as sock:
            proxied = b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 443\r\n" + request()
            assert answer(sock, proxied)[:13] in (b"HTTP/1.1 400 ", b"HTTP/1.1 429 ", b"")
    assert 0 < seen.count(101) <= 20 * (SECONDS + 2)
    # Who is one of very many is closed without a word.
    assert set(seen) <= {101, 429, 0}
    assert 429 in seen


PROXY = {
    "line": b"PROXY TCP4 " + b"1" * 1_000_000,
    "binary": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff" + b"x" * 1_000_000,
    "short binary": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x01\xff",
    "letters": b"PROXY",
}


@pytest.mark.parametrize("kind", PROXY)
def test_a_proxys_header_that_never_ends(serve: Serve, kind: str) -> None:
    server = serve(
        f'[server]\ntrusted_proxies = ["127.0.0.2"]\nproxy_protocol = true\n{HURRY.replace("1s", "500ms")}{ECHO}'
    )
    files = descriptors(server)

    def come() -> None:
        with connect_from(server, "127.0.0.2") as sock:
            assert answer(sock, PROXY[kind]) == b""

    with Bystander(server):
        before = memory(server)
        repeat(come, hands=4)
        until(lambda: descriptors(server) <= files + 1)
        assert memory(server) - before < 8 * 1024
    assert "Traceback" not in server.output
    assert len([line for line in server.lines if "warning" in line]) < 30
