"""Filters of the older API in the pipelines of two nodes on one Redis."""

from __future__ import annotations

import time
from pathlib import Path

from websockets.sync.client import connect

from tests.integration.conftest import Serve
from tests.integration.redis_server import RedisServer

OLD = """
from fws.classic.filters.base import WebSocketConsumerFilter, WebSocketMessageFilter


class Remember(WebSocketMessageFilter):
    @classmethod
    def filter(cls, web_socket_instance, data):
        storage = web_socket_instance.storage_object
        if data == b"who?":
            web_socket_instance.sendMessage(",".join(sorted(storage["names"])))
        else:
            storage["names"].add(data)


class Pass(WebSocketConsumerFilter):
    @classmethod
    def filter(cls, web_socket_instance, data):
        for user in web_socket_instance.users.values():
            user.sendMessage(data["channel"] + b": " + data["data"])
"""
CONF = """
[redis]
url = "{url}"
subscribe = ["news"]
[pipelines]
message = ["classic old"]
publication = ["classic old"]
"""


def test_nodes_share_storage_and_hear_other_applications(serve: Serve, tmp_path: Path) -> None:
    redis = RedisServer(tmp_path / "redis")
    try:
        (tmp_path / "old.py").write_text(OLD)
        one, two = (serve(CONF.replace("{url}", redis.url)) for _ in range(2))
        for server in (one, two):
            server.wait_for("is reached")
        with connect(one.url()) as first, connect(two.url()) as second:
            first.send("ann")
            until = time.monotonic() + 10
            while redis.say("SMEMBERS", "fws:names") != {b"ann"}:
                assert time.monotonic() < until
                time.sleep(0.02)
            second.send("who?")
            assert second.recv(5) == "ann"
            redis.say("PUBLISH", "news", "it rains")
            assert (first.recv(5), second.recv(5)) == ("news: it rains", "news: it rains")
    finally:
        redis.kill()
