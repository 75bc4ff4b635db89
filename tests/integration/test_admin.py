"""The second address, [admin]: what answers there, and that it is there for operators when the public port is not."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.hostile.attack import answer
from tests.integration.conftest import Running, Serve
from tests.integration.raw import request
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.process

CONF = """
[admin]
listen = "127.0.0.1:0"
[server]
drain = "3s"
[limits]
clients = 1
[redis]
url = "${REDIS_URL:-}"
[endpoints."/"]
message = ["echo"]
"""
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def admin_of(server: Running) -> tuple[str, int]:
    return "127.0.0.1", int(server.wait_for(r"admin +http://127\.0\.0\.1:(\d+)")[1])


def asked(address: tuple[str, int], data: bytes) -> bytes:
    with socket.create_connection(address, timeout=10) as sock:
        return answer(sock, data)


def test_health_is_there_and_websockets_are_not(serve: Serve) -> None:
    server = serve(CONF)
    address = admin_of(server)
    assert asked(address, HEALTH).endswith(b'{"status":"ok","clients":0}')
    upgrade = request().replace(b"Connection: Upgrade", b"Connection: Upgrade, close")
    assert asked(address, upgrade).startswith(b"HTTP/1.1 404 ")
    assert server.stop() == 0


def test_an_operator_reaches_a_server_that_is_full_or_drains(serve: Serve) -> None:
    server = serve(CONF)
    address = admin_of(server)
    with server.connect() as sock:
        sock.sendall(request())
        assert sock.recv(4096).startswith(b"HTTP/1.1 101 ")
        with server.connect() as other:
            assert answer(other, request()).startswith(b"HTTP/1.1 503 ")
        assert b'"clients":1' in asked(address, HEALTH)
        server.signal(15)
        until = time.monotonic() + 2
        while b'{"status":"draining"' not in (got := asked(address, HEALTH)):
            assert time.monotonic() < until, got
    assert server.process.wait(10) == 0
    with pytest.raises(ConnectionRefusedError):
        asked(address, HEALTH)


def test_workers_share_it_and_new_ones_do_too(serve: Serve, tmp_path: Path) -> None:
    redis = RedisServer(tmp_path / "redis")
    try:
        server = serve(CONF, "--workers", "2", REDIS_URL=redis.url)
        host, port = admin_of(server)
        server.wait_for("worker 2 .* serves")
        server.signal(12)  # SIGUSR2
        server.wait_for("all workers have been renewed", 30)
        for _ in range(10):
            with urlopen(f"http://{host}:{port}/healthz", timeout=10) as response:
                assert json.load(response)["status"] in ("ok", "degraded")
        assert server.stop() == 0
    finally:
        redis.kill()


def test_the_file_of_a_unix_socket_goes_with_the_server(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "admin"
    server = serve(CONF.replace("127.0.0.1:0", f"unix:{path}"))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        assert answer(sock, HEALTH).endswith(b'{"status":"ok","clients":0}')
    assert server.stop() == 0
    assert not path.exists()


def test_an_address_that_is_taken(serve: Serve) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        server = serve(CONF.replace("127.0.0.1:0", address), ready=False)
        assert server.process.wait(15) == 1
    server.wait_for(rf"cannot listen on {address}: another program listens there; .* with \[admin\] listen")
