"""Twenty thousand messages per second from Redis do not disturb others, and the last publications reach other nodes."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.integration.conftest import Running, Serve
from tests.integration.raw import TEXT, Raw
from tests.integration.redis_server import RedisServer

RATE = 20_000
SECONDS = 3
TOML = """
[redis]
url = "${REDIS_URL}"
[endpoints."/lobby"]
connect = ["join lobby"]
message = ["broadcast lobby"]
disconnect = ["publish lobby 'one has left'"]
[endpoints."/echo"]
message = ["echo"]
"""


Open = Callable[[Running, str], Raw]


@pytest.fixture
def open_raw() -> Iterator[Open]:
    """`open_raw(node, path)` gives a connection that is closed at the end."""
    opened: list[Raw] = []

    def connected(node: Running, path: str) -> Raw:
        opened.append(Raw(node.connect(), path))
        return opened[-1]

    yield connected
    for raw in opened:
        raw.sock.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    yield server
    server.kill()


def test_a_flood_from_redis_holds_nobody_up(serve: Serve, server: RedisServer, open_raw: Open) -> None:
    node = serve(TOML, REDIS_URL=server.url)
    member = open_raw(node, "/lobby")
    got = bytearray()

    def read() -> None:
        while b"last" not in got[-100:]:
            got.extend(member.sock.recv(1 << 20))

    def flood() -> None:
        """Publishes a little every few milliseconds, like one of many publishers."""
        with server.client() as client:
            began = time.monotonic()
            sent = 0
            while sent < RATE * SECONDS:
                due = int((time.monotonic() - began) * RATE) - sent
                if due > 0:
                    pipe = client.pipeline(transaction=False)
                    for number in range(due):
                        pipe.publish("fws:lobby", f"{sent + number:060}")
                    assert min(pipe.execute()) == 1
                    sent += due
                time.sleep(0.005)
            client.publish("fws:lobby", "last")

    reader = threading.Thread(target=read, daemon=True)
    flooder = threading.Thread(target=flood)
    with connect(node.url("/echo")) as echo:
        while server.say("PUBSUB", "NUMSUB", "fws:lobby")[1] != 1:
            time.sleep(0.01)
        reader.start()
        began = time.monotonic()
        flooder.start()
        echoes, handshakes = [], []
        while flooder.is_alive():
            asked = time.monotonic()
            echo.send("x")
            echo.recv(10)
            echoes.append(time.monotonic() - asked)
            asked = time.monotonic()
            Raw(node.connect(), "/echo").sock.close()
            handshakes.append(time.monotonic() - asked)
            time.sleep(0.02)
        flooder.join()
        took = time.monotonic() - began
        reader.join(5)
        behind = time.monotonic() - began - took
    count = len(got) // 62
    print(
        f"\n{count} messages in {took:.2f} s, the last {behind * 1000:.0f} ms later; echo median "
        f"{statistics.median(echoes) * 1000:.1f} ms, worst {max(echoes) * 1000:.0f} ms; handshake worst "
        f"{max(handshakes) * 1000:.0f} ms"
    )
    assert b"last" in got[-100:]
    assert count >= RATE * SECONDS
    assert statistics.quantiles(echoes, n=20)[-1] < 0.2
    assert max(handshakes) < 1


def test_last_words_reach_other_nodes(serve: Serve, server: RedisServer, open_raw: Open) -> None:
    """Publications of `disconnect` pipelines during a drain are sent before the node ends."""
    staying = serve(TOML, REDIS_URL=server.url)
    leaving = serve('[limits]\nclose_timeout = "1s"\n' + TOML, "--log-level", "warning", REDIS_URL=server.url)
    listener = open_raw(staying, "/lobby")
    goers = [open_raw(leaving, "/lobby") for _ in range(20)]
    while server.say("PUBSUB", "NUMSUB", "fws:lobby")[1] != 2:
        time.sleep(0.01)
    for goer in goers:
        goer.sock.close()
    goers = [open_raw(leaving, "/lobby") for _ in range(20)]
    began = time.monotonic()
    assert leaving.stop() == 0
    assert time.monotonic() - began < 10
    for _ in range(40):
        assert listener.receive() == (TEXT, b"one has left")


def test_a_node_ends_in_time_though_redis_is_frozen(serve: Serve, server: RedisServer, open_raw: Open) -> None:
    node = serve('[server]\ndrain = "3s"\n' + TOML, REDIS_URL=server.url)
    member = open_raw(node, "/lobby")
    server.freeze()
    member.send(TEXT, b"hello")
    assert member.receive() == (TEXT, b"hello")
    began = time.monotonic()
    assert node.stop() == 0
    assert time.monotonic() - began < 4
    server.thaw()
