"""Two nodes and an unreliable Redis."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.integration.conftest import Running, Serve
from tests.integration.redis_server import RedisServer

TOML = """
[redis]
url = "${REDIS_URL}"
prefix = "${PREFIX:-fws:}"
[endpoints."/ws"]
connect = ["join room"]
message = ["broadcast room to=others"]
[endpoints."/short"]
connect = ["join room"]
disconnect = ["goodbye"]
"""
GOODBYE = '''
from fws import Filter

class Goodbye(Filter):
    """Tells the others."""

    def disconnect(self, client):
        self.hub.publish("room", "goodbye")
'''


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that closes connections that were idle for a second, as managed ones do after some minutes."""
    server = RedisServer(tmp_path_factory.mktemp("redis"), "--timeout", "1")
    yield server
    server.kill()


def start(shared: Serve, redis: RedisServer, **environ: str) -> Running:
    environ = {"REDIS_URL": redis.url} | environ
    node = shared(TOML, pipelines={"goodbye": GOODBYE}, **environ)
    node.wait_for("is reached")
    return node


@pytest.fixture(scope="module")
def nodes(shared: Serve, redis: RedisServer) -> tuple[Running, Running]:
    return start(shared, redis), start(shared, redis)


@pytest.fixture
def clients(nodes: tuple[Running, Running]) -> Iterator[tuple[ClientConnection, ClientConnection]]:
    """A client on each node, which get each other's messages."""
    with connect(nodes[0].url("/ws")) as here, connect(nodes[1].url("/ws")) as there:
        cross(here, there)
        cross(there, here)
        yield here, there


_numbers = itertools.count()


def cross(sender: ClientConnection, receiver: ClientConnection, timeout: float = 10) -> None:
    """Wait until a message arrives at the other node. Messages before the subscription are lost."""
    until = time.monotonic() + timeout
    while True:
        text = f"cross {next(_numbers)}"
        sender.send(text)
        if hears(receiver, text, 0.3):
            return
        assert time.monotonic() < until, "no message crosses"


def hears(client: ClientConnection, text: str, timeout: float = 5) -> bool:
    """Whether this message arrives in time. Others are skipped."""
    until = time.monotonic() + timeout
    with contextlib.suppress(TimeoutError):
        while (left := until - time.monotonic()) > 0:
            if client.recv(left) == text:
                return True
    return False


def test_a_redis_that_closes_idle_connections_loses_nothing(
    clients: tuple[ClientConnection, ClientConnection],
) -> None:
    """https://github.com/miguelgrinberg/python-socketio/issues/281: after an idle time nothing crossed any more."""
    here, there = clients
    time.sleep(2.2)  # Redis looks once a second
    here.send("after a while")
    assert hears(there, "after a while")


def test_publications_of_disconnect_reach_other_nodes(
    nodes: tuple[Running, Running], clients: tuple[ClientConnection, ClientConnection]
) -> None:
    """https://github.com/django/channels_redis/issues/372: of what was sent in `disconnect` some never arrived."""
    for _ in range(10):
        with connect(nodes[0].url("/short")):
            pass
        assert hears(clients[1], "goodbye")


def test_a_member_that_leaves_takes_nothing_from_the_others(
    nodes: tuple[Running, Running], clients: tuple[ClientConnection, ClientConnection]
) -> None:
    """https://github.com/soketi/soketi/issues/616: a channel counted as empty when one of its members had left."""
    here, there = clients
    for number in range(10):
        with connect(nodes[1].url("/ws")):
            pass
        here.send(f"still {number}")
        assert hears(there, f"still {number}")


def test_no_gaps_while_other_clients_come_and_go(
    nodes: tuple[Running, Running], clients: tuple[ClientConnection, ClientConnection]
) -> None:
    """https://github.com/django/channels/issues/1683: messages were lost now and then while others reconnected."""
    here, there = clients
    stopped = threading.Event()

    def come_and_go(url: str) -> None:
        while not stopped.is_set():
            with contextlib.suppress(ConnectionClosed), connect(url):
                pass

    others = [threading.Thread(target=come_and_go, args=(node.url("/ws"),)) for node in nodes]
    for thread in others:
        thread.start()
    try:
        sent = [f"number {number}" for number in range(300)]
        for text in sent:
            here.send(text)
            time.sleep(0.002)
        heard = []
        while sent[-1] not in heard:
            heard.append(there.recv(10))
    finally:
        stopped.set()
        for thread in others:
            thread.join()
    assert [text for text in heard if str(text).startswith("number")] == sent


def test_reconnects_leave_no_descriptors(
    nodes: tuple[Running, Running], clients: tuple[ClientConnection, ClientConnection], redis: RedisServer
) -> None:
    """https://github.com/miguelgrinberg/python-socketio/issues/1569: each reconnect leaked a connection to Redis."""

    def descriptors() -> int:
        return len(os.listdir(f"/proc/{nodes[0].process.pid}/fd"))

    before = descriptors()
    for _ in range(12):
        redis.say("CLIENT", "KILL", "TYPE", "pubsub")
        redis.say("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        time.sleep(0.1)
    cross(clients[0], clients[1])
    cross(clients[1], clients[0])
    assert descriptors() <= before


def test_a_prefix_separates_applications_and_the_number_of_a_database_does_not(
    shared: Serve, clients: tuple[ClientConnection, ClientConnection], redis: RedisServer
) -> None:
    """Fault: docs/redis.md did not mention this.

    https://github.com/anycable/anycable-go/issues/90: staging and production, each with a database of its own in one
    Redis, got each other's messages. Redis's pub/sub knows no databases.
    """
    other_database = start(shared, redis, REDIS_URL=redis.url.removesuffix("/0") + "/1")
    with connect(other_database.url("/ws")) as client:
        cross(clients[0], client)
    other_prefix = start(shared, redis, PREFIX="staging:")
    with connect(other_prefix.url("/ws")) as client:
        time.sleep(0.3)
        clients[0].send("for production")
        assert hears(clients[1], "for production")
        assert not hears(client, "for production", 0.3)
