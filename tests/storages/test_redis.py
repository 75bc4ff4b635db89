"""The storage in a real Redis, which other applications use as well."""

from __future__ import annotations

import logging
import secrets
import subprocess
import time
from collections.abc import Iterator

import pytest

from fws.errors import StorageError
from fws.link import Link
from fws.storages.base import MAX_VALUE
from fws.storages.redis import RedisStorage
from tests.integration.redis_server import RedisServer
from tests.storages.contract import Contract


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


class TestRedis(Contract):
    short = 0.4

    @pytest.fixture(autouse=True)
    def made(self, server: RedisServer) -> None:
        self.server = server
        self.prefix = f"{secrets.token_hex(4)}:"
        self.storage = RedisStorage(Link(server.url), self.prefix)
        # A little longer: Redis's clock is the one that counts.
        self.passes = lambda seconds: time.sleep(seconds * 1.1)

    def cli(self, *words: str) -> str:
        """What `redis-cli` says, as another application would."""
        command = ["redis-cli", "-p", str(self.server.port), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def test_the_types_are_redis_s_own(self) -> None:
        storage, prefix = self.storage, self.prefix
        storage.add("s", "a")
        storage.set_field("m", "field", "value")
        storage.increment("n", 7)
        assert self.cli("SMEMBERS", f"{prefix}s") == "a"
        assert self.cli("HGET", f"{prefix}m", "field") == "value"
        assert self.cli("GET", f"{prefix}n") == "7"
        self.cli("SADD", f"{prefix}s", "b")
        self.cli("HSET", f"{prefix}m", "other", "1")
        self.cli("SET", f"{prefix}v", "said")
        assert (storage.members("s"), storage.get_field("m", "other"), storage.get("v")) == ({"a", "b"}, "1", "said")

    def test_what_others_wrote_is_checked(self) -> None:
        storage, prefix = self.storage, self.prefix
        self.server.say("RPUSH", f"{prefix}list", "a")
        self.server.say("SADD", f"{prefix}bytes", b"\xff\xfe")
        self.server.say("SETRANGE", f"{prefix}huge", 100 * 1024 * 1024, "x")
        self.server.say("HSET", f"{prefix}map", "field", b"x" * (MAX_VALUE + 1))
        for call in (
            lambda: storage.members("list"),
            lambda: storage.get("list"),
            lambda: storage.members("bytes"),
            lambda: storage.get("huge"),
            lambda: storage.get_field("map", "field"),
        ):
            with pytest.raises(StorageError):
                call()
        storage.set("v", "goes on")
        assert storage.get("v") == "goes on"

    def test_away_it_fails_soon_says_so_once_and_comes_back(
        self, tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        server = RedisServer(tmp_path_factory.mktemp("away"))
        storage = RedisStorage(Link(server.url), self.prefix)
        storage.set("v", "x")
        server.kill()
        start = time.monotonic()
        for _ in range(3):
            with pytest.raises(StorageError, match="cannot be asked"):
                storage.get("v")
        assert time.monotonic() - start < 6
        server.start()
        storage.set("v", "y")
        assert storage.get("v") == "y"
        lines = [record.getMessage() for record in caplog.records if record.name == "fws.redis"]
        assert [line.split(" ")[-2:] for line in lines] == [["listens", "there"], ["answers", "again"]]
        server.kill()
