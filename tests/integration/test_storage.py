"""Two nodes and one Redis: filters share their storage, and survive the absence of Redis."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.integration.conftest import Running, Serve
from tests.integration.redis_server import RedisServer
from tests.integration.test_redis_cluster import Nodes

TOML = """
[redis]
url = "${REDIS_URL}"
[pipelines]
message = ["echo"]
[endpoints."/counted"]
connect = ["count online"]
disconnect = ["count online by=-1"]
[endpoints."/once"]
message = ["json", "dedupe", "broadcast"]
[endpoints."/scores"]
message = ["json", "store scores field=player value=points", "load scores into=all of=map", "echo"]
[endpoints."/limited"]
message = ["rate_limit 20/s burst=20 by=address store=shared", "echo"]
[endpoints."/other"]
message = ["json", "redis HINCRBY scores {message.player} {message.points} into=total", "echo"]
[endpoints."/group"]
message = ["broadcast_by_token"]
"""
# What one call may take, and some more on a machine with other things to do.
LONGEST = 4.0 + 2.0


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    yield server
    server.kill()


def both(serve: Serve, url: str) -> tuple[Running, Running]:
    return serve(TOML, REDIS_URL=url), serve(TOML, REDIS_URL=url)


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


def refused(node: Running) -> float:
    """The seconds until a client gets a 503."""
    began = time.monotonic()
    with pytest.raises(InvalidStatus) as caught:
        connect(node.url("/counted"), legacy=True)
    assert caught.value.response.status_code == 503
    return time.monotonic() - began


def test_one_node_finds_values_of_another(serve: Serve, redis: RedisServer) -> None:
    here, there = both(serve, redis.url)
    with connect(here.url("/counted"), legacy=True), connect(there.url("/counted"), legacy=True):
        assert redis.say("GET", "fws:online") == b"2"
    wait_until(lambda: redis.say("GET", "fws:online") == b"0")
    with connect(here.url("/scores"), legacy=True) as ann, connect(there.url("/scores"), legacy=True) as bob:
        ann.send('{"player":"ann","points":7}')
        assert ann.recv(10) == '{"player":"ann","points":7,"all":{"ann":"7"}}'
        redis.say("HSET", "fws:scores", "another application", "9")
        bob.send('{"player":"bob","points":8}')
        assert bob.recv(10) == '{"player":"bob","points":8,"all":{"ann":"7","another application":"9","bob":"8"}}'
    with connect(here.url("/once"), legacy=True) as ann, connect(there.url("/once"), legacy=True) as bob:
        ann.send('{"id":1}')
        assert ann.recv(10) == '{"id":1}'
        bob.send('{"id":1}')
        bob.send('{"id":2}')
        wait_until(lambda: bob.recv(10) == '{"id":2}')


def passed(*clients: ClientConnection) -> int:
    """How many of 100 messages of each client are echoed, all sent at once."""
    for client in clients:
        for _ in range(100):
            client.send("x")
        client.send("")

    def echoed(client: ClientConnection) -> int:
        count = 0
        with contextlib.suppress(TimeoutError):
            while client.recv(0.3):
                count += 1
        return count

    with ThreadPoolExecutor(len(clients)) as pool:
        return sum(pool.map(echoed, clients))


def test_a_rate_is_limited_on_all_nodes_together(serve: Serve, redis: RedisServer) -> None:
    here, there = both(serve, redis.url)
    with connect(here.url("/limited"), legacy=True) as ann, connect(there.url("/limited"), legacy=True) as bob:
        began = time.monotonic()
        count = passed(ann, bob)
        # What a bucket lets pass in a second more than this took.
        assert 20 <= count <= 20 + 20 * (time.monotonic() - began + 1)
        assert 0 < redis.say("PTTL", "fws:limit:address:20:20:127.0.0.1") <= 1000
        redis.kill()
        assert passed(ann) >= 20, "each node goes on with buckets of its own"
        redis.start()
        wait_until(lambda: passed(ann) >= 0 and redis.say("EXISTS", "fws:limit:address:20:20:127.0.0.1") == 1)
    assert "Traceback" not in here.output + there.output


def test_another_application_finds_data_as_it_expects_them(serve: Serve, redis: RedisServer) -> None:
    here, there = both(serve, redis.url)
    with connect(here.url("/other"), legacy=True) as ann, connect(there.url("/other"), legacy=True) as bob:
        ann.send('{"player":"ann","points":7}')
        assert ann.recv(10) == '{"player":"ann","points":7,"total":7}'
        bob.send('{"player":"ann","points":3}')
        assert bob.recv(10) == '{"player":"ann","points":3,"total":10}'
        assert redis.say("HGET", "scores", "ann") == b"10"


def test_a_group_is_one_on_both_nodes(serve: Serve, redis: RedisServer) -> None:
    here, there = both(serve, redis.url)
    with connect(here.url("/group"), legacy=True) as ann, connect(there.url("/group"), legacy=True) as bob:
        ann.send("token:red")
        bob.send("token:red")
        wait_until(lambda: redis.say("SCARD", "fws:token:red") == 2)
        wait_until(lambda: redis.say("PUBSUB", "NUMSUB", "fws:token:red")[1] == 2)
        bob.send("hello")
        assert (ann.recv(10), bob.recv(10)) == ("hello", "hello")
    wait_until(lambda: redis.say("SCARD", "fws:token:red") == 0)


@pytest.mark.parametrize("fault", ["killed", "frozen"])
def test_without_redis_events_end_and_clients_stay(serve: Serve, redis: RedisServer, fault: str) -> None:
    node = serve(TOML, REDIS_URL=redis.url)
    with connect(node.url("/scores"), legacy=True) as client, connect(node.url(), legacy=True) as other:
        client.send('{"player":"ann","points":1}')
        assert client.recv(10) == '{"player":"ann","points":1,"all":{"ann":"1"}}'
        redis.kill() if fault == "killed" else redis.freeze()
        for _ in range(2):
            client.send('{"player":"ann","points":2}')
        assert refused(node) < LONGEST
        # Who asks for nothing stored notices nothing.
        began = time.monotonic()
        other.send("hello")
        assert other.recv(10) == "hello"
        assert time.monotonic() - began < 1
        with pytest.raises(TimeoutError):
            client.recv(0.1)
        redis.start() if fault == "killed" else redis.thaw()
        wait_until(lambda: answers(node))
        client.send('{"player":"ann","points":3}')
        # One that still waited when Redis came back is served, too.
        wait_until(lambda: client.recv(10) == '{"player":"ann","points":3,"all":{"ann":"3"}}')
    assert node.output.count(" fails: ") == 1
    assert "Traceback" not in node.output


def answers(node: Running) -> bool:
    try:
        connect(node.url("/counted"), legacy=True).close()
    except InvalidStatus:
        return False
    return True


def test_a_frozen_node_of_a_cluster_delays_nobody_for_long(serve: Serve, tmp_path: Path) -> None:
    """Fault: callers of redis-py wait for one another, 2 s for each, and the last one waited for a minute."""
    cluster = Nodes(tmp_path / "cluster")
    try:
        node = serve(TOML, REDIS_URL=cluster.url)
        assert answers(node)
        cluster.serving(b"fws:online").freeze()
        with ThreadPoolExecutor(50) as pool:
            waits = list(pool.map(lambda _: refused(node), range(50)))
        assert max(waits) < LONGEST
        assert node.output.count(" fails: ") == 1
    finally:
        cluster.kill()
