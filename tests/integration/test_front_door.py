"""Incoming connections: trusted proxies, sockets from systemd, and socket files with owners."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import ROOT, Serve
from tests.integration.raw import Raw, request
from tests.integration.test_connection import answer

ADDRESS = '[pipelines]\nconnect = ["reply \'{address}\'"]\nmessage = ["echo"]\n'
BEHIND = '[server]\ntrusted_proxies = ["127.0.0.1", "unix:"]\n' + ADDRESS


@pytest.fixture(params=[False, True], ids=["http", "https"])
def tls(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def address_seen(sock: socket.socket, *lines: str, before: bytes = b"") -> str:
    sock.sendall(before)
    return Raw(sock, "/", *lines).receive()[1].decode()


def test_forwarded_headers_are_believed_of_trusted_proxies_only(serve: Serve) -> None:
    lines = ["X-Forwarded-For: 6.6.6.6, 192.0.2.9"]
    for toml, address in ((BEHIND, "192.0.2.9"), (ADDRESS, "127.0.0.1")):
        server = serve(toml)
        with server.connect() as sock:
            assert address_seen(sock, *lines) == address
    evil = ("Origin: https://evil.example", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https")
    with server.connect() as sock:
        sock.sendall(request("/", *evil))
        assert sock.recv(4096).startswith(b"HTTP/1.1 403 ")


def test_the_origin_is_that_of_the_proxys_address(serve: Serve) -> None:
    server = serve(BEHIND)
    outside = ["X-Forwarded-Host: example.org", "X-Forwarded-Proto: https"]
    for origin, status in (
        ("https://example.org", b"101"),
        ("http://example.org", b"403"),
        ("https://localhost", b"403"),
    ):
        with server.connect() as sock:
            sock.sendall(request("/", f"Origin: {origin}", *outside))
            assert sock.recv(4096).startswith(b"HTTP/1.1 " + status), origin


V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([192, 0, 2, 7, 10, 0, 0, 1]) + struct.pack("!HH", 5000, 443)


@pytest.mark.parametrize("header", [b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 443\r\n", V2], ids=["v1", "v2"])
@pytest.mark.parametrize("pieces", [1, 100])
def test_the_proxy_protocol(serve: Serve, header: bytes, pieces: int) -> None:
    server = serve(BEHIND.replace("[server]\n", "[server]\nproxy_protocol = true\n"))
    with server.connect_tcp() as tcp:
        for start in range(0, len(header), len(header) // pieces or 1):
            tcp.sendall(header[start : start + (len(header) // pieces or 1)])
            time.sleep(0.002)
        with tcp if server.tls is None else server.tls.wrap_socket(tcp, server_hostname="localhost") as sock:
            assert address_seen(sock) == "192.0.2.7"


def test_a_connection_of_a_proxy_that_does_not_begin_so_is_ended(serve: Serve) -> None:
    server = serve(BEHIND.replace("[server]\n", "[server]\nproxy_protocol = true\n"))
    with server.connect_tcp() as tcp, contextlib.suppress(ConnectionError):
        tcp.sendall(request())
        assert tcp.recv(4096) == b""
    server.wait_for("the proxy 127.0.0.1 sent no PROXY header")


def test_a_proxy_header_from_an_untrusted_peer_is_refused(serve: Serve) -> None:
    server = serve('[server]\ntrusted_proxies = ["10.0.0.0/8"]\nproxy_protocol = true\n' + ADDRESS)
    with server.connect() as sock:
        assert answer(sock, b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 443\r\n" + request()).startswith(b"HTTP/1.1 400 ")
    with server.connect() as sock:
        assert address_seen(sock) == "127.0.0.1"


def test_a_unix_socket_with_mode_and_owner(serve: Serve, tmp_path: Path, tls: bool) -> None:
    path = tmp_path / "fws.sock"
    group = os.getgid()
    settings = f'[server]\nsocket_mode = "620"\nsocket_owner = ":{name_of(group)}"\n'
    server = serve(BEHIND.replace("[server]\n", settings), listen=f"unix:{path}", ready=False)
    server.wait_for("listens +unix:")
    status = path.stat()
    assert stat.S_IMODE(status.st_mode) == 0o620
    assert status.st_gid == group
    with socket.socket(socket.AF_UNIX) as tcp:
        tcp.connect(str(path))
        with tcp if server.tls is None else server.tls.wrap_socket(tcp, server_hostname="localhost") as sock:
            assert address_seen(sock, "X-Forwarded-For: 192.0.2.9") == "192.0.2.9"
    assert server.stop() == 0
    unknown = serve(
        ADDRESS.replace("[pipe", '[server]\nsocket_owner = "nobody-here"\n[pipe'), listen=f"unix:{path}", ready=False
    )
    assert unknown.process.wait(10) == 1
    unknown.wait_for("no such user or group")
    assert not path.exists()


def name_of(group: int) -> str:
    import grp

    return grp.getgrgid(group).gr_name


ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.set_inheritable(3, True)
os.environ["LISTEN_PID"], os.environ["LISTEN_FDS"] = str(os.getpid()), sys.argv[2]
os.execv(sys.executable, [sys.executable, "-m", "fws", "run", "a.toml"])
"""


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_a_socket_that_systemd_passes(tmp_path: Path, family: socket.AddressFamily) -> None:
    (tmp_path / "a.toml").write_text(ADDRESS)
    environ = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"}
    path = tmp_path / "given.sock"
    with socket.socket(family) as listener:
        listener.bind(str(path) if family == socket.AF_UNIX else ("127.0.0.1", 0))
        listener.listen(5)
        command = [sys.executable, "-c", ACTIVATE, str(listener.fileno())]
        options: dict[str, Any] = {
            "cwd": tmp_path,
            "env": environ,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
        }
        with subprocess.Popen([*command, "1"], pass_fds=[listener.fileno()], **options) as process:
            try:
                with socket.socket(family) as sock:
                    sock.settimeout(10)
                    # Whoever comes before the server is ready waits in the socket.
                    sock.connect(listener.getsockname())
                    assert address_seen(sock) == ("" if family == socket.AF_UNIX else "127.0.0.1")
                process.terminate()
                assert process.wait(10) == 0
                assert family != socket.AF_UNIX or path.exists()
            finally:
                process.kill()
        with subprocess.Popen([*command, "2"], pass_fds=[listener.fileno()], **options) as process:
            assert process.stdout is not None
            output = process.stdout.read()
            assert b"systemd passed 2 sockets" in output
            assert b"Traceback" not in output
            assert process.wait(10) == 1
