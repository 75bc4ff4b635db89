"""The listening socket: capacity, limits by address, and the PROXY protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import gevent
import pytest

from tests.server.served import Served, everything, get, upgrade

Start = Callable[..., Served]
ECHO = '[pipelines]\nmessage = ["echo"]\n'


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start(toml, capacity=…)` gives a listener that is stopped at the end."""
    with ExitStack() as stack:

        def start(toml: str, *, capacity: int = 100) -> Served:
            served = Served(toml, tmp_path, capacity=capacity)
            stack.callback(served.stop)
            return served

        yield start


def test_a_connection_above_the_capacity_gets_503(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    served = start(ECHO, capacity=2)
    with ExitStack() as stack:
        for _ in range(2):
            sock = stack.enter_context(served.connect())
            sock.sendall(upgrade("/"))
            assert sock.recv(4096).startswith(b"HTTP/1.1 101 ")
        received = served.ask(upgrade("/"))
        assert received.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 5" in received
        assert "all 2 connections are in use: new ones get 503" in caplog.messages
        assert served.node.context.metrics["clients_over_limit"] == 1
    # Both have left, so that there is room again.
    with gevent.Timeout(10):
        while served.listener.connections:
            gevent.sleep(0.001)
    with served.connect() as sock:
        sock.sendall(upgrade("/"))
        assert sock.recv(4096).startswith(b"HTTP/1.1 101 ")


def test_an_address_above_its_limit_gets_429(start: Start) -> None:
    served = start("[limits]\nexempt = []\nclients_per_address = 1\n" + ECHO)
    with served.connect() as sock:
        sock.sendall(upgrade("/"))
        assert sock.recv(4096).startswith(b"HTTP/1.1 101 ")
        assert served.ask(upgrade("/")).startswith(b"HTTP/1.1 429 ")
    assert served.node.context.metrics["address_clients_over_limit"] == 1


def test_plain_requests_count_as_connections_while_they_last(start: Start) -> None:
    served = start(ECHO, capacity=1)
    with served.connect() as idle:
        idle.sendall(get("/healthz"))
        assert idle.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert served.listener.connections == 1
        assert served.ask(get("/healthz")).startswith(b"HTTP/1.1 503 ")
    with gevent.Timeout(10):
        while served.listener.connections:
            gevent.sleep(0.001)
    assert served.ask(get("/healthz", "Connection: close")).startswith(b"HTTP/1.1 200 ")


WITH_PROXY = (
    '[server]\ntrusted_proxies = ["127.0.0.0/8"]\nproxy_protocol = true\n'
    "[limits]\nexempt = []\nclients_per_address = 1\n[pipelines]\nconnect = [\"reply '{address}'\"]\n"
)


def test_the_address_in_a_proxy_header_counts(start: Start) -> None:
    served = start(WITH_PROXY)
    with ExitStack() as stack:
        for address in ("192.0.2.1", "192.0.2.2"):
            sock = stack.enter_context(served.connect())
            sock.sendall(f"PROXY TCP4 {address} 192.0.2.9 1234 443\r\n".encode() + upgrade("/"))
            received = b""
            while not received.endswith(address.encode()):
                received += sock.recv(4096)
        again = served.ask(b"PROXY TCP4 192.0.2.1 192.0.2.9 1234 443\r\n" + upgrade("/"))
        assert again.startswith(b"HTTP/1.1 429 ")


@pytest.mark.parametrize("data", [upgrade("/"), b"PROXY TCP4 nonsense\r\n", b"\x16\x03\x01"])
def test_a_proxy_without_a_valid_header_is_closed_and_logged(
    start: Start, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    served = start(WITH_PROXY)
    with served.connect() as sock:
        sock.sendall(data)
        assert everything(sock) == b""
    assert served.node.context.metrics["proxy_errors"] == 1
    assert any(message.startswith("the proxy 127.0.0.1 sent ") for message in caplog.messages)
