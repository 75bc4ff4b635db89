"""Sources and schedules on two nodes with one Redis, of which one is killed."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.integration.conftest import Serve
from tests.integration.redis_server import RedisServer
from tests.integration.test_storage import wait_until

TOML = """
[redis]
url = "${REDIS_URL}"

[channels."shop:*"]
history = 1000

[sources.orders]
use = "stream"
key = "orders"
channel = "shop:{shop}"
begin = "first"
idle = "1s"
batch = 10

[schedules.beat]
every = "250ms"
run = ["pick time", "set node=${NODE}", "publish beats"]

[endpoints."/shop"]
connect = ["join shop:7"]
[endpoints."/beats"]
connect = ["join beats"]
"""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    yield server
    server.kill()


def received(client: ClientConnection, number: int) -> list[dict[str, object]]:
    return [msgspec.json.decode(client.recv(10)) for _ in range(number)]


def test_entries_of_a_stream_are_published_by_whichever_node_lives(serve: Serve, redis: RedisServer) -> None:
    for number in range(5):
        redis.say("XADD", "orders", "*", "shop", "7", "message", f'{{"number":{number}}}')
    first = serve(TOML, REDIS_URL=redis.url, NODE="a").ready()
    second = serve(TOML, REDIS_URL=redis.url, NODE="b").ready()
    with connect(f"{second.url('/shop')}", legacy=True) as ann:
        wait_until(lambda: len(redis.say("XINFO", "CONSUMERS", "orders", "fws")) == 2)
        # A node that hangs has read entries that it cannot publish. Another one publishes them.
        first.signal(signal.SIGSTOP)
        for number in range(5, 60):
            redis.say("XADD", "orders", "*", "shop", "7", "message", f'{{"number":{number}}}')
            time.sleep(0.01)
        first.signal(signal.SIGKILL)
        numbers = {one["number"] for one in received(ann, 55)}
        assert numbers == set(range(5, 60))
    redis.say("XADD", "orders", "*", "shop", "?*", "message", "no such channel")
    redis.say("XADD", "orders", "*", "message", "no shop")
    wait_until(lambda: redis.say("XPENDING", "orders", "fws")["pending"] == 0)
    second.wait_for("is not published: the name of a channel can have at most")
    second.wait_for("is not published: it has no field 'shop'")
    second.stop()
    # The consumer of the killed node stays until it has been idle for long.
    assert len(redis.say("XINFO", "CONSUMERS", "orders", "fws")) == 1


def test_a_schedule_stays_on_one_node_and_moves_when_that_dies(serve: Serve, redis: RedisServer) -> None:
    first = serve(TOML, REDIS_URL=redis.url, NODE="a").ready()
    second = serve(TOML, REDIS_URL=redis.url, NODE="b").ready()
    with connect(f"{second.url('/beats')}", legacy=True) as ann:
        beats = received(ann, 8)
        assert len({beat["node"] for beat in beats[2:]}) == 1, "it stays on one node"
        assert len({beat["time"] for beat in beats}) == 8, "and each tick runs once"
        first.signal(signal.SIGKILL)
        began = time.monotonic()
        while received(ann, 1)[0]["node"] != "b":
            pass
        assert time.monotonic() - began < 15
