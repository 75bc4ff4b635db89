"""A Cluster of three masters: sharded pub/sub, and a slot that moves while messages flow."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.crc import key_slot
from websockets.sync.client import connect

from fws.redis.client import client_of
from fws.redis.connector import Connector
from tests.integration.redis_server import RedisServer, free_port
from tests.integration.test_redis_faults import Result, Scene

CHANNEL = b"fws:lobby"
SLOTS = [(0, 5460), (5461, 10922), (10923, 16383)]


class Nodes:
    """Three connected masters."""

    def __init__(self, folder: Path) -> None:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
        self.servers = [
            RedisServer(folder / f"redis{number}", *options, "--cluster-port", str(free_port())) for number in range(3)
        ]
        try:
            self._meet()
        except BaseException:
            self.kill()
            raise

    def _meet(self) -> None:
        for server, (first, last) in zip(self.servers, SLOTS, strict=True):
            server.say("CLUSTER", "ADDSLOTSRANGE", first, last)
        one = self.servers[0]
        for server in self.servers[1:]:
            bus = server.options[server.options.index("--cluster-port") + 1]
            one.say("CLUSTER", "MEET", "127.0.0.1", server.port, bus)
        until = time.monotonic() + 20
        while not all(self._is_whole(server) for server in self.servers):
            assert time.monotonic() < until, "the nodes do not know one another"
            time.sleep(0.1)

    def _is_whole(self, server: RedisServer) -> bool:
        info = server.say("CLUSTER", "INFO")
        return b"cluster_state:ok" in info and b"cluster_known_nodes:3" in info

    @property
    def url(self) -> str:
        # The last one alone: it knows the others.
        return f"redis+cluster://127.0.0.1:{self.servers[2].port}"

    def serving(self, name: bytes) -> RedisServer:
        slot = key_slot(name)
        return next(s for s, (first, last) in zip(self.servers, SLOTS, strict=True) if first <= slot <= last)

    def move(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        ids = {server: server.say("CLUSTER", "MYID").decode() for server in (source, target)}
        target.say("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
        source.say("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
        for server in (target, source):
            server.say("CLUSTER", "SETSLOT", slot, "NODE", ids[target])

    def kill(self) -> None:
        for server in self.servers:
            server.kill()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Nodes]:
    nodes = Nodes(tmp_path)
    yield nodes
    nodes.kill()


def test_a_slot_that_moves_is_followed(cluster: Nodes, tmp_path: Path) -> None:
    """Fault: Redis sends `sunsubscribe` and nothing more, and a node that does not move gets nothing any more."""
    source = cluster.serving(CHANNEL)
    target = next(server for server in cluster.servers if server is not source)
    scene = Scene(tmp_path / "nodes", source, cluster.url)
    try:
        scene.wait_for_health("ok")
        scene.begin()
        scene.wait_until_heard()
        # Another application's message.
        assert source.say("SPUBLISH", CHANNEL, "hello") == 2
        scene.wait_until(lambda: "hello" in [text for _, text in scene.there.got], 5, "hello")
        began = time.monotonic()
        cluster.move(key_slot(CHANNEL), source, target)
        scene.wait_until_heard()
        scene.wait_for_health("ok")
        recovered = time.monotonic() - began
        time.sleep(0.5)
        silence = scene.there.longest_silence(began)
        assert target.say("SPUBLISH", CHANNEL, "from the target") == 2
        # Channels of other slots were not disturbed, and those of new ones are heard.
        with (
            connect(scene.nodes[1].url("/room/7"), legacy=True) as there,
            connect(scene.nodes[0].url("/room/7"), legacy=True) as here,
        ):
            until = time.monotonic() + 5
            while cluster.serving(b"fws:room 7").say("PUBSUB", "SHARDNUMSUB", "fws:room 7")[1] != 2:
                assert time.monotonic() < until
                time.sleep(0.02)
            here.send("in the room")
            assert there.recv(5) == "in the room"
        with client_of(Connector(cluster.url)) as client:
            assert [client.set(f"key{number}", number) for number in range(20)] == [True] * 20
            assert client.get("key7") == b"7"
        scene.end()
        result = Result(scene, None, recovered)
        print(f"\nmoved slot: silent {silence:.2f} s; {result}")
        assert silence < 2
        assert result.lost_here == 0
        assert result.twice == 0
        assert result.in_order
        assert result.wait < 2
        assert result.lost < 20
    finally:
        scene.close()


def test_a_lost_node_of_the_cluster_is_reported_and_the_others_go_on(cluster: Nodes, tmp_path: Path) -> None:
    source = cluster.serving(CHANNEL)
    other = next(server for server in cluster.servers if server is not source)
    for server in cluster.servers:
        server.say("CONFIG", "SET", "cluster-require-full-coverage", "no")
    scene = Scene(tmp_path / "nodes", source, cluster.url)
    try:
        scene.wait_for_health("ok")
        scene.begin()
        scene.wait_until_heard()
        other.kill()
        scene.wait_for_health("degraded")
        scene.wait_until_heard()
        other.start()
        scene.wait_for_health("ok")
        scene.end()
        result = Result(scene, None, None)
        assert (result.lost, result.lost_here, result.twice) == (0, 0, 0)
    finally:
        scene.close()
