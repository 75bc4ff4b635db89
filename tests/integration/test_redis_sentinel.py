"""A master, a replica and three Sentinels: nodes follow the master."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fws.redis.client import client_of
from fws.redis.connector import Connector
from tests.integration.redis_server import RedisServer
from tests.integration.test_redis_faults import Result, Scene

SERVICE = "chat"


class Group:
    """Two servers and their Sentinels."""

    def __init__(self, folder: Path) -> None:
        options = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")
        self.servers = [RedisServer(folder / f"redis{number}", *options) for number in range(2)]
        self.servers[1].say("REPLICAOF", "127.0.0.1", self.servers[0].port)
        self.sentinels: list[RedisServer] = []
        try:
            self._watch(folder)
        except BaseException:
            self.kill()
            raise

    def _watch(self, folder: Path) -> None:
        for number in range(3):
            place = folder / f"sentinel{number}"
            place.mkdir()
            (place / "sentinel.conf").write_text(
                f"sentinel monitor {SERVICE} 127.0.0.1 {self.servers[0].port} 2\n"
                f"sentinel down-after-milliseconds {SERVICE} 1500\n"
                f"sentinel failover-timeout {SERVICE} 6000\n"
            )
            self.sentinels.append(Sentinel(place))
        # A Sentinel asks for replicas every 10 s. When its own clock has jumped under load, it does nothing for 30 s,
        # which Redis' documentation calls TILT mode.
        until = time.monotonic() + 60
        while not all(self._knows(sentinel) for sentinel in self.sentinels):
            assert time.monotonic() < until, "the Sentinels do not know one another"
            time.sleep(0.1)

    def _knows(self, sentinel: RedisServer) -> bool:
        flat = sentinel.say("SENTINEL", "MASTER", SERVICE)
        state: dict[Any, Any] = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
        known = {str(key, "ascii") if isinstance(key, bytes) else key: value for key, value in state.items()}
        return int(known["num-slaves"]) == 1 and int(known["num-other-sentinels"]) == 2

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    def kill(self) -> None:
        for server in (*self.sentinels, *self.servers):
            server.kill()


class Sentinel(RedisServer):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)

    def command(self, *options: str) -> list[str]:
        return ["redis-sentinel", str(self.folder / "sentinel.conf"), "--port", str(self.port), "--bind", "127.0.0.1"]


def planned(group: Group) -> None:
    """The operator requests a failover. The old master serves until the Sentinels inform it, about 10 s later."""
    group.sentinels[0].say("SENTINEL", "FAILOVER", SERVICE)


def killed(group: Group) -> None:
    group.servers[0].kill()


def frozen(group: Group) -> None:
    """The master is frozen, replaced, and then resumes as if it were still the master."""
    group.servers[0].freeze()


# Fault and the longest silence, in seconds.
FAILOVERS: dict[str, tuple[Callable[[Group], None], float]] = {
    "planned": (planned, 5),
    "killed": (killed, 10),
    "frozen": (frozen, 10),
}


def connections(server: RedisServer) -> int:
    """The number of connections of nodes. Sentinels' connections have names."""
    with server.client() as client:
        lines = client.client_list(_type="normal") + client.client_list(_type="pubsub")
    commands = [line["cmd"] for line in lines if not line["name"].startswith("sentinel")]
    return sum(command in ("publish", "subscribe", "ping") for command in commands)


def play(name: str, folder: Path) -> Result:
    group = Group(folder)
    old, new = group.servers
    try:
        scene = Scene(folder / "nodes", old, group.url)
        try:
            scene.wait_for_health("ok")
            scene.begin()
            scene.wait_until_heard()
            began = time.monotonic()
            FAILOVERS[name][0](group)
            scene.wait_until(lambda: new.say("ROLE")[0] == b"master", 20, "failed over")
            scene.wait_until_heard(10)
            scene.wait_for_health("ok")
            recovered = time.monotonic() - began
            if name == "frozen":
                old.thaw()
                time.sleep(1.5)
            if name != "killed":
                # Nobody hears the old master any more, and nobody writes to it.
                scene.wait_until(lambda: connections(old) == 0, 3, "the old master is left")
                scene.wait_until_heard()
                assert connections(old) == 0
            with client_of(Connector(group.url)) as client:
                assert client.set("key", "value")
            with new.client() as client:
                assert client.get("key") == b"value"
            scene.end()
            return Result(scene, None, recovered)
        finally:
            scene.close()
    finally:
        group.kill()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Result]]]:
    folder = tmp_path_factory.mktemp("sentinel")
    with ThreadPoolExecutor(len(FAILOVERS)) as pool:
        yield {name: pool.submit(play, name, folder / name) for name in FAILOVERS}


@pytest.mark.parametrize("name", FAILOVERS)
def test_nodes_follow_the_master(results: dict[str, Future[Result]], name: str) -> None:
    result = results[name].result()
    print(f"\n{name:20} {result}")
    assert result.silence < FAILOVERS[name][1]
    assert result.lost_here == 0
    assert result.twice == 0
    assert result.in_order
    assert result.wait < 2
    # A second passes until the nodes have noticed a failover that did not cut them off.
    assert result.lost < (80 if name == "planned" else 10), str(result)
