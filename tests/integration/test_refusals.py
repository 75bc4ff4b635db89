"""Whoever sees a refusal in the browser finds its reason in the log."""

from __future__ import annotations

import re
import socket
from pathlib import Path

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
        (
            b"GET /missing.js HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            404,
            r"GET /missing\.js HTTP/1\.1: 404 NOT FOUND \(\[server\] static is not set\)",
        ),
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


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/missing.js", "404 NOT FOUND (there is no such file)"),
        ("/.env", "404 NOT FOUND (a name in the path begins with a dot)"),
        ("/out.txt", "404 NOT FOUND (a symbolic link leads out of the static folder)"),
        ("/open", "426 UPGRADE REQUIRED (This is a WebSocket endpoint"),
    ],
)
def test_a_file_that_is_not_served_has_its_reason_in_the_log(
    serve: Serve, tmp_path: Path, path: str, reason: str
) -> None:
    """Fault: clients get the same 404 for several reasons, on purpose, and the log did not say more."""
    static = tmp_path / "conf" / "static"
    static.mkdir(parents=True)
    (static / ".env").write_text("s3cret")
    (tmp_path / "secret.txt").write_text("s3cret")
    (static / "out.txt").symlink_to(tmp_path / "secret.txt")
    server = serve('[server]\nstatic = "static"\n[endpoints."/open"]\nmessage = ["echo"]')
    answer(server, f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    server.wait_for(re.escape(reason))


def test_an_origin_is_cut_and_cannot_forge_a_line(serve: Serve) -> None:
    server = serve(TOML)
    answer(server, request("/open", "Origin: https://" + "a" * 4000))
    server.wait_for("403 the origin https://aaa")
    assert all(len(line) <= 300 for line in server.lines)
