"""The journal in a real Redis, a Cluster, and for a user with few permissions."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator

import pytest

from fws.base.errors import StorageError
from fws.journals.redis import RedisJournal
from fws.pipeline.journal import Item
from fws.redis.connector import Connector
from fws.storages.redis import RedisStorage
from tests.integration.conftest import ROOT
from tests.integration.redis_server import RedisServer
from tests.integration.test_redis_cluster import Nodes
from tests.journals.contract import Contract


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    nodes = Nodes(tmp_path_factory.mktemp("cluster"))
    yield nodes
    nodes.kill()


class TestRedis(Contract):
    @pytest.fixture(autouse=True)
    def made(self, server: RedisServer) -> None:
        self.server = server
        self.storage = RedisStorage(Connector(server.url), f"{secrets.token_hex(4)}:")

    def test_a_redis_without_memory_is_a_failure_and_nothing_is_lost(self) -> None:
        self.append(Item(1, b"one"))
        self.server.say("CONFIG", "SET", "maxmemory", "1")
        try:
            with pytest.raises(StorageError):
                self.append(Item(2, b"two"))
        finally:
            self.server.say("CONFIG", "SET", "maxmemory", "0")
        self.append(Item(2, b"two"))
        assert self.journal.read("log", 0, 10) == [Item(1, b"one"), Item(2, b"two")]


class TestCluster(Contract):
    @pytest.fixture(autouse=True)
    def made(self, cluster: Nodes) -> None:
        self.storage = RedisStorage(Connector(cluster.url), f"{secrets.token_hex(4)}:")


class TestUser(Contract):
    """A user with only the permissions in docs/storage.md."""

    @pytest.fixture(autouse=True)
    def made(self, server: RedisServer) -> None:
        prefix = f"{secrets.token_hex(4)}:"
        rights = re.findall(r"\+[a-z|]+", (ROOT / "docs" / "storage.md").read_text())
        server.say("ACL", "SETUSER", "shop", "reset", "on", ">s3cret", f"~{prefix}*", "-@all", *rights)
        self.storage = RedisStorage(Connector(f"redis://shop:s3cret@127.0.0.1:{server.port}/0"), prefix)


def test_without_redis_every_call_fails(server: RedisServer) -> None:
    journal = RedisJournal(RedisStorage(Connector("redis://127.0.0.1:1"), "x:"))
    with pytest.raises(StorageError):
        journal.append("log", [Item(1, b"x")], most=10, expire=60)
