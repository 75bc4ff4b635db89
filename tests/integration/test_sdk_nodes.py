"""The SDK for JavaScript and several nodes: a restart under load, and workers without sticky sessions."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Running, launcher
from tests.integration.redis_server import RedisServer, free_port
from tests.integration.sdk import CONF, KEY, PIPELINES, TRANSPORTS, Node


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    yield server
    server.kill()


def test_nothing_is_lost_when_a_server_restarts_under_load(tmp_path: Path, redis: RedisServer) -> None:
    listen = f"127.0.0.1:{free_port()}"
    with launcher(tmp_path, None) as serve:

        def start(listen: str) -> Running:
            return serve(CONF, pipelines=PIPELINES, listen=listen, KEY=KEY, REDIS_URL=redis.url)

        publishing, server = start("127.0.0.1:0"), start(listen)

        def restart(request: Any) -> int:
            nonlocal server
            status = server.stop()
            server = start(listen)
            return status

        node = Node("restart.mjs", str(server.port), str(publishing.port), answer=restart)
        told = node.wait()
        assert server.stop() == publishing.stop() == 0
    assert [one.get("transport") for one in told] == list(TRANSPORTS)
    for one in told:
        assert one["received"] == one["published"]
        assert one["wrong"] == -1
        assert one["recovered"] == [True, True]


def test_commands_over_plain_http_arrive_at_any_worker(tmp_path: Path, redis: RedisServer) -> None:
    with launcher(tmp_path, None) as serve:
        server = serve(CONF, "--workers", "2", pipelines=PIPELINES, KEY=KEY, REDIS_URL=redis.url)
        server.wait_for(r"(?s)(?:worker \d+ \(pid \d+\) serves.*){2}")
        assert Node("workers.mjs", str(server.port)).wait() == [{"transport": "sse"}, {"transport": "http_stream"}]
        server.signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
