"""Clients of the protocol centrifuge whose channels are in Redis, and whose filters may block."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import Serve
from tests.integration.raw import TEXT, Raw
from tests.integration.redis_server import RedisServer

TOML = """
[redis]
url = "${REDIS_URL}"
[endpoints."/{room}"]
protocol = "centrifuge"
connect = ["join {room}"]
message = ["rest"]
[channels."*"]
history = 5
subscribe = "channel != ''"
publish = "channel != ''"
"""
REST = """
import gevent
from fws import Filter


class Rest(Filter):
    def message(self, client, message):
        gevent.sleep(0.05)
"""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    yield server
    server.kill()


def test_commands_that_have_waited_for_redis_do_not_stop_it(serve: Serve, redis: RedisServer) -> None:
    """Fault: they were served in the greenlet that reads Redis's answers, which then never went on."""
    server = serve(TOML, pipelines={"rest": REST}, REDIS_URL=redis.url)
    for number in range(3):
        with server.connect() as sock:
            raw = Raw(sock, f"/room{number}")
            commands = [
                {"id": 1, "connect": {}},
                {"id": 2, "send": {}},
                {"id": 3, "publish": {"channel": f"room{number}", "data": "hello"}},
                {"id": 4, "history": {"channel": f"room{number}", "limit": 5}},
            ]
            raw.send(TEXT, "\n".join(map(json.dumps, commands)).encode())
            found: list[object] = []
            while 4 not in found or "pub" not in found:
                reply = json.loads(raw.receive()[1])
                assert "error" not in reply, reply
                found += reply.get("push", {}) if "push" in reply else [reply["id"]]
            assert [one for one in found if isinstance(one, int)] == [1, 2, 3, 4]
    assert "Traceback" not in server.output
    assert server.stop() == 0
