"""The storage in a real Redis, which other applications use as well."""

from __future__ import annotations

import logging
import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fws.base.errors import StorageError
from fws.pipeline.commands import Command
from fws.pipeline.storage import MAX_VALUE
from fws.redis.client import CONNECTIONS
from fws.redis.connector import Connector
from fws.storages.memory import MemoryStorage
from fws.storages.redis import RedisStorage
from tests.integration.conftest import ROOT
from tests.integration.redis_server import RedisServer, free_port
from tests.integration.test_redis_cluster import Nodes
from tests.integration.test_redis_sentinel import Group
from tests.storages.contract import Contract
from tests.support import Clock


def passing(servers: list[RedisServer], prefix: str) -> Callable[[float], None]:
    """Let time pass for the keys below a prefix by reducing their expiry."""

    def passes(seconds: float) -> None:
        for server in servers:
            with server.client() as client:
                for name in client.scan_iter(f"{prefix}*", count=1000):
                    left = client.pttl(name)
                    if left >= 0:
                        client.pexpire(name, max(0, left - round(seconds * 1000)))

    return passes


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


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    group = Group(tmp_path_factory.mktemp("group"))
    yield group
    group.kill()


class TestCluster(Contract):
    @pytest.fixture(autouse=True)
    def made(self, cluster: Nodes) -> None:
        prefix = f"{secrets.token_hex(4)}:"
        self.storage = RedisStorage(Connector(cluster.url), prefix)
        self.passes = passing(cluster.servers, prefix)

    def test_commands_go_to_the_node_of_their_key(self) -> None:
        for number in range(20):
            assert self.storage.command(Command.parse("INCRBY"), f"n{number}", ["5"]) == 5
            assert self.storage.command(Command.parse("DEL"), f"n{number}", []) == 1


class TestSentinel(Contract):
    @pytest.fixture(autouse=True)
    def made(self, group: Group) -> None:
        prefix = f"{secrets.token_hex(4)}:"
        self.storage = RedisStorage(Connector(group.url), prefix)
        self.passes = passing(group.servers[:1], prefix)


class TestUser(Contract):
    """A user with only the permissions in docs/storage.md."""

    @pytest.fixture(autouse=True)
    def made(self, server: RedisServer) -> None:
        prefix = f"{secrets.token_hex(4)}:"
        rights = re.findall(r"\+[a-z|]+", (ROOT / "docs" / "storage.md").read_text())
        server.say("ACL", "SETUSER", "chat", "reset", "on", ">s3cret", f"~{prefix}*", "-@all", *rights)
        self.storage = RedisStorage(Connector(f"redis://chat:s3cret@127.0.0.1:{server.port}/0"), prefix)
        self.passes = passing([server], prefix)


class TestRedis(Contract):
    @pytest.fixture(autouse=True)
    def made(self, server: RedisServer) -> None:
        self.server = server
        self.prefix = f"{secrets.token_hex(4)}:"
        self.clock = Clock()
        self.storage = RedisStorage(Connector(server.url), self.prefix, self.clock)
        self.passes = passing([server], self.prefix)

    def cli(self, *words: str) -> str:
        """The result of `redis-cli`, which stands for another application."""
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

    def test_values_of_other_applications_are_checked(self) -> None:
        storage, prefix = self.storage, self.prefix
        self.server.say("RPUSH", f"{prefix}list", "a")
        self.server.say("SADD", f"{prefix}bytes", b"\xff\xfe")
        self.server.say("SETRANGE", f"{prefix}huge", 100 * 1024 * 1024, "x")
        self.server.say("HSET", f"{prefix}map", "field", b"x" * (MAX_VALUE + 1))
        self.server.say("HSET", f"{prefix}large", "field", b"x" * 100 * 1024 * 1024)
        self.server.say("SADD", f"{prefix}member", b"x" * 100 * 1024 * 1024)
        self.server.say("HSET", f"{prefix}garbage", b"\xff", "x")
        for call in (
            lambda: storage.members("list"),
            lambda: storage.get("list"),
            lambda: storage.members("bytes"),
            lambda: storage.get("huge"),
            lambda: storage.get_field("map", "field"),
            lambda: storage.get_fields("large", "field", "none"),
            lambda: storage.fields("map"),
            lambda: storage.fields("large"),
            lambda: storage.members("member"),
            lambda: storage.fields("garbage"),
            lambda: storage.increment("huge"),
        ):
            with pytest.raises(StorageError):
                call()
        assert not storage.compare_and_set("huge", "x", "y")
        storage.set("v", "goes on")
        assert storage.get("v") == "goes on"
        for name in ("huge", "large", "member"):
            storage.delete(name)

    def test_a_value_that_never_existed_is_never_read(self) -> None:
        """Fault: a value that was set between two round trips was read as an empty text, every other time."""
        other = RedisStorage(Connector(self.server.url), self.prefix)
        found = set()

        def change() -> None:
            for _ in range(1000):
                other.set("v", "x")
                other.delete("v")

        changing = threading.Thread(target=change)
        changing.start()
        while changing.is_alive():
            found.add(self.storage.get("v"))
        assert found <= {None, "x"}

    def test_a_huge_value_is_not_taken_up_to_be_compared(self) -> None:
        """Fault: the script compared 100 MB of another application, and Redis did not answer for a second."""
        self.server.say("SETRANGE", f"{self.prefix}huge", 100 * 1024 * 1024, "x")
        self.server.say("CONFIG", "RESETSTAT")
        assert not self.storage.compare_and_set("huge", "x", "y")
        calls = self.server.say("INFO", "commandstats")
        assert "cmdstat_strlen" in calls
        assert "cmdstat_get" not in calls
        self.storage.delete("huge")

    def test_a_greenlet_that_is_killed_gives_its_turn_back(self, server: RedisServer) -> None:
        """Fault: the semaphore of `threading` broke if a waiting greenlet was killed, and the storage could not be used
        any more.
        """
        assert server.process is not None
        script = ROOT / "tests" / "storages" / "patched_redis.py"
        command = [sys.executable, "-m", "gevent.monkey", str(script), str(server.port), str(server.process.pid)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert (done.stdout.strip(), done.returncode) == (str(2 * CONNECTIONS), 0), done.stderr

    def test_a_bucket_gains_tokens_by_the_clock_of_redis(self) -> None:
        storage = self.storage
        assert storage.take("b", 10, 100.0, 5).tokens == 5
        assert 0 < self.server.say("PTTL", f"{self.prefix}b") <= 50
        until = time.monotonic() + 10
        while (tokens := storage.take("b", 10, 100.0, 5).tokens) == 0:
            assert time.monotonic() < until
            time.sleep(0.001)
        assert tokens >= 1

    def test_redis_itself_forgets(self) -> None:
        storage = self.storage
        storage.add("s", "a", expire=0.05)
        storage.set_field("m", "a", "1", expire=0.05)
        storage.increment("n", expire=0.05)
        storage.set("v", "x", expire=0.05)
        assert storage.compare_and_set("c", None, "x", expire=0.05)
        storage.set("d", "x")
        assert storage.compare_and_set("d", "x", "y", expire=0.05)
        until = time.monotonic() + 10
        while any(self.server.say("EXISTS", f"{self.prefix}{key}") for key in "smnvcd"):
            assert time.monotonic() < until
            time.sleep(0.01)

    def test_data_of_others_are_no_change_of_state(self, caplog: pytest.LogCaptureFixture) -> None:
        """Fault: with a key that is not a counter, the log said for each message that the storage fails and answers
        again.
        """
        self.storage.set("n", "no number")
        for _ in range(3):
            with pytest.raises(StorageError, match="not an integer") as caught:
                self.storage.increment("n")
            assert not caught.value.logged
            self.storage.get("n")
        assert caplog.records == []

    def test_occasional_failures_are_failures(self, caplog: pytest.LogCaptureFixture) -> None:
        """Fault: with one node of a Cluster away, or a Redis that refuses writes, the log had two lines per message."""
        storage = self.storage
        self.server.say("CONFIG", "SET", "maxmemory", "1")
        try:
            for _ in range(3):
                with pytest.raises(StorageError, match="cannot be asked"):
                    storage.set("v", "x")
                assert storage.get("v") is None
                self.clock.advance(1)
        finally:
            self.server.say("CONFIG", "SET", "maxmemory", "0")
        self.clock.advance(5)
        storage.set("v", "x")
        storage.set("v", "y")
        lines = [record.getMessage() for record in caplog.records]
        assert [line.split(" ")[4] for line in lines] == ["fails:", "answers"]

    def test_away_it_fails_soon_says_so_once_and_comes_back(
        self, away: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        storage = RedisStorage(Connector(away.url), self.prefix, self.clock)
        storage.set("v", "x")
        away.kill()
        start = time.monotonic()
        for _ in range(3):
            with pytest.raises(StorageError, match="cannot be asked"):
                storage.get("v")
        assert time.monotonic() - start < 6
        away.start()
        storage.set("v", "y")
        self.clock.advance(5)
        assert storage.get("v") == "y"
        lines = [record.getMessage() for record in caplog.records if record.name == "fws.redis"]
        assert [line.split(" ")[-2:] for line in lines] == [["listens", "there"], ["answers", "again"]]


@pytest.fixture
def away(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.kill()


def test_a_cluster_without_nodes_is_a_storage_that_fails() -> None:
    """Fault: redis-py raises an unrelated exception for this, which counted as an error of the filter."""
    storage = RedisStorage(Connector(f"redis+cluster://127.0.0.1:{free_port()}"), "fws:")
    for _ in range(2):
        with pytest.raises(StorageError, match="none of its nodes can be reached"):
            storage.get("v")


KEYS = st.sampled_from(["a", "b"])
WORDS = st.sampled_from(["", "1", "x", "ü", "-7"])
EXPIRE = st.sampled_from([None, None, 60.0])
CALLS = st.one_of(
    st.tuples(st.just("add"), KEYS, WORDS, WORDS),
    st.tuples(st.just("add"), KEYS, WORDS, EXPIRE.map(lambda seconds: {"expire": seconds})),
    st.tuples(st.just("remove"), KEYS, WORDS),
    st.tuples(st.sampled_from(["members", "size", "fields", "get", "delete"]), KEYS),
    st.tuples(st.sampled_from(["contains", "get_field", "delete_field"]), KEYS, WORDS),
    st.tuples(st.just("set_field"), KEYS, WORDS, WORDS, EXPIRE),
    st.tuples(st.just("increment"), KEYS, st.integers(-3, 3), EXPIRE),
    st.tuples(st.just("set"), KEYS, WORDS, EXPIRE),
    st.tuples(st.just("compare_and_set"), KEYS, st.none() | WORDS, st.none() | WORDS, EXPIRE),
    st.tuples(st.just("passes"), st.sampled_from([30.0, 60.0])),
)


@settings(max_examples=60, deadline=None)
@given(calls=st.lists(CALLS, max_size=20))
def test_memory_and_redis_answer_alike(server: RedisServer, calls: list[tuple[Any, ...]]) -> None:
    clock = Clock()
    prefix = f"{secrets.token_hex(4)}:"
    memory, shared = MemoryStorage(clock), RedisStorage(Connector(server.url), prefix)
    passes = passing([server], prefix)
    for name, *arguments in calls:
        if name == "passes":
            clock.advance(arguments[0])
            passes(arguments[0])
            continue
        named = arguments.pop() if isinstance(arguments[-1], dict) else {}
        assert said(getattr(memory, name), *arguments, **named) == said(getattr(shared, name), *arguments, **named)


def said(method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    try:
        return method(*arguments, **named)
    except StorageError:
        return StorageError
