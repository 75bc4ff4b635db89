"""Whoever sees a refusal in the browser finds its reason in the log."""

from __future__ import annotations

import re
import socket

import pytest

from tests.integration.conftest import Running, Serve
from tests.integration.raw import request

TOML = """
[server]
origins = []
[endpoints."/chat/{room}"]
connect = ["reject 401 'Sign in first.'"]
[endpoints."/open"]
message = ["echo"]
"""


def answer(server: Running, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(data)
        received = b""
        while piece := sock.recv(65536):
            received += piece
        return received.partition(b"\r\n")[0]


@pytest.mark.parametrize(
    ("data", "status", "line"),
    [
        (
            request("/open", "Origin: http://chat.example:8080", host="chat.example"),
            403,
            r"warning refused 127\.0\.0\.1: 403 the origin http://chat\.example:8080 is not that "
            r"of the Host chat\.example: pass the Host on \(in nginx: proxy_set_header Host \$http_host\), or set "
            r'origins = \["http://chat\.example:8080"\] \(GET /open HTTP/1\.1\)',
        ),
        (
            request("/nowhere"),
            404,
            r"info    refused 127\.0\.0\.1: 404 There is no endpoint at this path\. \(GET /nowhere",
        ),
        (request("/chat/" + "x" * 300), 404, r"404 The part room of the path is longer than 200 bytes\."),
        (request("/chat/tea?token=s3cret"), 401, r"401 Sign in first\. \(GET /chat/tea\?… HTTP/1\.1\)"),
        (
            request("/open").replace(b"Connection: Upgrade\r\n", b""),
            400,
            r'400 The Connection header does not name "Upgrade"\.',
        ),
        (request("/open").replace(b"Version: 13", b"Version: 8"), 426, r"426 Only version 13"),
        (b"GET / HTTP/1.1\r\nbroken\r\n\r\n", 400, r"refused 127\.0\.0\.1: 400 Header line 1 is not"),
        (b"GET /missing.js HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404, r"GET /missing\.js HTTP/1\.1: 404"),
    ],
)
def test_a_refusal_has_one_line_in_the_log(serve: Serve, data: bytes, status: int, line: str) -> None:
    """Fault: behind nginx with `Host $host` a browser got 403, and at the default level the log had no line."""
    server = serve(TOML)
    for _ in range(3):
        assert answer(server, data).startswith(b"HTTP/1.1 %d " % status)
    server.wait_for(line)
    assert "s3cret" not in server.output
    assert sum(bool(re.search(line, said)) for said in server.lines) == 1


def test_an_origin_is_cut_and_cannot_forge_a_line(serve: Serve) -> None:
    server = serve(TOML)
    answer(server, request("/open", "Origin: https://" + "a" * 4000))
    server.wait_for("403 the origin https://aaa")
    assert all(len(line) <= 300 for line in server.lines)
