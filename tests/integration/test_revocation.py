"""Tokens and bans that nodes share through Redis."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jwt
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.auth.pairs import SECRET
from tests.integration.conftest import Running, Serve
from tests.integration.redis_server import RedisServer

CONF = """
[redis]
url = "{url}"
[endpoints."/once"]
connect = ["token storage=once once=true"]
[endpoints."/listed"]
connect = ["token LISTED once=true"]
[endpoints."/jwt"]
connect = ["jwt HS256 KEY once=true"]
[endpoints."/shared"]
connect = ["token storage=tokens users=token_users", "ban", "join lobby"]
message = ["echo"]
"""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    yield server
    server.thaw()
    server.kill()


ROUNDS = 5
LISTED = [f"listed-{number}" for number in range(ROUNDS)]


@pytest.fixture
def nodes(serve: Serve, redis: RedisServer) -> list[Running]:
    conf = CONF.format(url=redis.url).replace("LISTED", " ".join(LISTED)).replace("KEY", SECRET)
    return [serve(conf) for _ in range(2)]


def opened(node: Running, path: str, token: str) -> ClientConnection:
    return connect(node.url(path), additional_headers={"Authorization": f"Bearer {token}"})


def status(node: Running, path: str, token: str) -> int:
    try:
        with opened(node, path, token):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


def ends(client: ClientConnection, within: float) -> int:
    """The close code, which must arrive in time."""
    with pytest.raises(ConnectionClosed) as closed:
        client.recv(timeout=within)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


def alive(client: ClientConnection) -> bool:
    client.send("hello")
    return client.recv(timeout=5) == "hello"


def test_a_token_is_accepted_a_single_time_when_many_send_it_at_once(nodes: list[Running], redis: RedisServer) -> None:
    crowd = 8
    stored = [f"token-{number}" for number in range(ROUNDS)]
    redis.say("SADD", "fws:once", *stored)
    signed = [jwt.encode({"sub": "ann", "exp": time.time() + 60, "n": n}, SECRET, "HS256") for n in range(ROUNDS)]
    for path, tokens in (("/once", stored), ("/listed", LISTED), ("/jwt", signed)):
        for token in tokens:
            barrier = threading.Barrier(crowd)

            def come(number: int, path: str = path, token: str = token, barrier: threading.Barrier = barrier) -> int:
                barrier.wait()
                return status(nodes[number % 2], path, token)

            with ThreadPoolExecutor(crowd) as pool:
                assert sorted(pool.map(come, range(crowd))) == [101] + [401] * (crowd - 1)
    keys = b" ".join(redis.say("KEYS", "*")).decode()
    assert "fws:used:" in keys
    assert not any(token in keys for token in (*LISTED, *stored, *signed)), "only fingerprints are kept"


def test_revoked_access_ends_on_every_node_within_5_seconds(nodes: list[Running], redis: RedisServer) -> None:
    redis.say("SADD", "fws:tokens", "token-a", "token-b")
    redis.say("HSET", "fws:token_users", "token-ann", "ann", "token-bob", "bob")
    with (
        opened(nodes[0], "/shared", "token-a") as a0,
        opened(nodes[1], "/shared", "token-a") as a1,
        opened(nodes[1], "/shared", "token-b") as b,
        opened(nodes[0], "/shared", "token-ann") as ann,
        opened(nodes[1], "/shared", "token-bob") as bob,
    ):
        began = time.monotonic()
        redis.say("SREM", "fws:tokens", "token-a")
        redis.say("HSET", "fws:bans", "user:ann", "")
        redis.say("HDEL", "fws:token_users", "token-bob")
        assert [ends(client, 5) for client in (a0, a1, ann, bob)] == [4401, 4401, 4403, 4401]
        assert time.monotonic() - began < 5
        assert alive(b)
    for token, expected in (("token-a", 401), ("token-b", 101), ("token-ann", 403), ("token-bob", 401)):
        assert status(nodes[0], "/shared", token) == expected


def test_access_that_is_revoked_during_an_outage_ends_after_it(nodes: list[Running], redis: RedisServer) -> None:
    redis.say("SADD", "fws:tokens", "token-a", "token-b")
    with opened(nodes[0], "/shared", "token-a") as a, opened(nodes[1], "/shared", "token-b") as b:
        redis.kill()
        # Longer than the time between two looks: who is in stays, and nobody comes in.
        until = time.monotonic() + 3
        while time.monotonic() < until:
            assert alive(a)
            time.sleep(0.2)
        assert status(nodes[0], "/shared", "token-b") == 503
        redis.start()
        redis.say("SADD", "fws:tokens", "token-b")  # it comes back without token-a
        assert ends(a, 5) == 4401
        assert alive(b)
        assert status(nodes[1], "/shared", "token-b") == 101
    for node in nodes:
        assert "Traceback" not in node.output
        assert "token-a" not in node.output
