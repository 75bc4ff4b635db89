"""`fws publish`, with a real Redis and a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.cli.command import fws
from tests.integration.conftest import Running
from tests.integration.redis_server import RedisServer

CONF = """
[redis]
url = "${REDIS_URL:-}"
prefix = "shop:"
[pipelines]
connect = ["join lobby"]
message = ["echo"]
"""


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    file = tmp_path / "app.toml"
    file.write_text(CONF)
    return file


def test_a_message_and_lines_reach_the_members_of_the_channel(conf: Path, tmp_path: Path, redis: RedisServer) -> None:
    server = Running(["run", str(conf), "--listen", "127.0.0.1:0"], tmp_path, {"REDIS_URL": redis.url})
    try:
        server.ready()
        server.wait_for("is reached")
        with connect(server.url()) as client:
            while not redis.say("PUBSUB", "NUMSUB", "shop:lobby")[1]:
                pass
            done = fws("publish", conf, "lobby", "grüß Gott", cwd=tmp_path, REDIS_URL=redis.url)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
            assert client.recv(timeout=10) == "grüß Gott"
            done = fws("publish", conf, "elsewhere", "not here", cwd=tmp_path, REDIS_URL=redis.url)
            assert done.returncode == 0
            lines = b"one\n\n  two \r\n\xff\nlast"
            done = fws("publish", conf, "lobby", cwd=tmp_path, stdin=lines, REDIS_URL=redis.url)
            assert done.returncode == 0
            assert [client.recv(timeout=10) for _ in range(5)] == ["one", "", "  two ", b"\xff", "last"]
    finally:
        server.end()


def test_without_redis_the_error_says_what_to_set(conf: Path, tmp_path: Path) -> None:
    done = fws("publish", conf, "lobby", "x", cwd=tmp_path)
    assert done.returncode == 78
    assert "set [redis] url" in done.stderr


@pytest.mark.parametrize("channel", ["", "a\nb", "x" * 201])
def test_a_name_that_no_channel_has(conf: Path, tmp_path: Path, channel: str) -> None:
    done = fws("publish", conf, channel, "x", cwd=tmp_path, REDIS_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 78
    assert "name of a channel" in done.stderr


def test_an_unreachable_redis_is_reported_without_its_password(conf: Path, tmp_path: Path) -> None:
    done = fws("publish", conf, "lobby", "x", cwd=tmp_path, REDIS_URL="redis://:open-sesame@127.0.0.1:1/0")
    assert done.returncode == 1
    assert "nothing listens there; 0 messages published" in done.stderr
    assert "sesame" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_message_that_the_servers_would_not_take(conf: Path, tmp_path: Path, redis: RedisServer) -> None:
    conf.write_text(CONF.replace("[pipelines]", 'max_message = "1KiB"\n[pipelines]'))
    done = fws("publish", conf, "lobby", "x" * 1025, cwd=tmp_path, REDIS_URL=redis.url)
    assert done.returncode == 1
    assert "message 1 is larger than [redis] max_message" in done.stderr


def test_a_wrong_file_and_a_stage_that_only_the_server_can_have(conf: Path, tmp_path: Path, redis: RedisServer) -> None:
    conf.write_text(CONF.replace('"echo"', '"filter_of_another_machine"'))
    assert fws("publish", conf, "lobby", "x", cwd=tmp_path, REDIS_URL=redis.url).returncode == 0
    conf.write_text(CONF.replace("prefix", "prefx"))
    done = fws("publish", conf, "lobby", "x", cwd=tmp_path, REDIS_URL=redis.url)
    assert done.returncode == 78
    assert "did you mean 'prefix'" in done.stderr
