"""The commands of the API with two servers at one Redis: each concerns the clients of both."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.integration.conftest import Running, Serve
from tests.integration.redis_server import RedisServer

KEY = "a-key-of-at-least-32-characters--"
TOML = """
[redis]
url = "${REDIS_URL}"
[api]
key = "${API_KEY}"
path = "/api"
[channels."kept"]
history = 10
[channels."seen"]
presence = true
[endpoints."/{name}"]
connect = ["who"]
message = ["echo"]
"""
PIPELINES = {
    "who": """
from fws import Filter

class Who(Filter):
    def connect(self, client):
        client.identity = {"user": client.params["name"]}
"""
}


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    yield server
    server.kill()


@pytest.fixture
def nodes(serve: Serve, redis: RedisServer) -> list[Running]:
    made = [serve(TOML, pipelines=PIPELINES, REDIS_URL=redis.url, API_KEY=KEY) for _ in range(2)]
    for node in made:
        wait_until(lambda: len(ask(node, "info")["result"]["nodes"]) == 2)  # noqa: B023
    return made


def ask(node: Running, method: str, **request: Any) -> dict[str, Any]:
    headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
    body = json.dumps(request).encode()
    call = urllib.request.Request(f"{node.page}/api/{method}", body, headers)
    with urllib.request.urlopen(call, timeout=15) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def wait_until(condition: Callable[[], bool], timeout: float = 10) -> None:
    until = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def client(node: Running, name: str) -> ClientConnection:
    return connect(node.url(f"/{name}"), legacy=True)


def end_of(one: ClientConnection) -> tuple[int, str]:
    """How a connection ends, after whatever arrives before."""
    try:
        while True:
            one.recv(5)
    except ConnectionClosed as closed:
        assert closed.rcvd is not None
        return closed.rcvd.code, closed.rcvd.reason


def test_commands_to_one_node_concern_the_clients_of_both(nodes: list[Running]) -> None:
    here, there = nodes
    with client(here, "ann") as ann, client(there, "ann") as other, client(there, "bob") as bob:
        for channel in ("kept", "seen", "plain"):
            assert ask(here, "subscribe", user="ann", channel=channel) == {"result": {}}
        wait_until(lambda: ask(here, "presence_stats", channel="seen")["result"] == {"num_clients": 2, "num_users": 1})
        assert ask(there, "channels", pattern="[kps]*")["result"]["channels"] == {
            name: {"num_clients": 2} for name in ("kept", "seen", "plain")
        }
        published = ask(here, "publish", channel="kept", data={"text": "hi"})["result"]
        assert published["offset"] == 1
        for one in (ann, other):
            assert json.loads(one.recv(5)) == {"text": "hi"}
        history = ask(there, "history", channel="kept", limit=-1)["result"]
        assert (history["epoch"], [one["data"] for one in history["publications"]]) == (
            published["epoch"],
            [{"text": "hi"}],
        )
        assert ask(there, "history_remove", channel="kept") == {"result": {}}
        assert ask(here, "history", channel="kept", limit=-1)["result"].get("publications", []) == []
        assert ask(here, "publish", channel="kept", data="next")["result"]["offset"] == 2
        assert other.recv(5) == "next"
        assert "offset" not in ask(here, "publish", channel="kept", data="typing", skip_history=True)["result"]
        assert other.recv(5) == "typing"
        first = ask(here, "publish", channel="kept", data="once", idempotency_key="1")
        assert ask(there, "publish", channel="kept", data="again", idempotency_key="1") == first
        assert other.recv(5) == "once"
        history = ask(there, "history", channel="kept", limit=-1, reverse=True)["result"]
        assert [one["data"] for one in history["publications"]] == ["once", "next"]
        ask(here, "unsubscribe", user="ann", channel="plain")
        assert "plain" not in ask(here, "channels")["result"]["channels"]
        ask(here, "disconnect", user="ann")
        assert end_of(ann) == end_of(other) == (3503, "force disconnect")
        bob.send("still here")
        assert bob.recv(5) == "still here"
        ask(here, "refresh", user="bob", expired=True)
        assert end_of(bob)[0] == 4401


def test_a_node_that_dies_does_not_stop_the_others(nodes: list[Running]) -> None:
    here, there = nodes
    there.process.kill()
    there.process.wait(10)
    wait_until(lambda: len(ask(here, "info")["result"]["nodes"]) == 1)
    before = time.monotonic()
    ask(here, "disconnect", user="nobody")
    assert time.monotonic() - before < 1


def test_while_redis_is_away_the_caller_is_told(nodes: list[Running], redis: RedisServer) -> None:
    here, _ = nodes
    with client(here, "ann") as ann:
        redis.kill()
        wait_until(lambda: "error" in ask(here, "channels"))
        answer = ask(here, "disconnect", user="ann")
        assert answer["error"]["code"] == 100
        assert end_of(ann)[0] == 3503
        redis.start()
        wait_until(lambda: "error" not in ask(here, "channels"), 20)
        wait_until(lambda: len(ask(here, "info")["result"]["nodes"]) == 2, 20)
