"""Servers with Redis: what webhooks have not delivered survives a deploy and a crash."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from websockets.sync.client import connect

from fws.http.signature import signed
from tests.integration.conftest import ROOT, Serve
from tests.integration.redis_server import RedisServer, free_port
from tests.integration.test_storage import wait_until
from tests.webhooks.receiver import KEY, SECRET, Receiver, receiving
from tests.webhooks.test_keeper import kept

TOML = """
[server]
drain = "5s"
[redis]
url = "${REDIS_URL}"
[pipelines]
message = ["webhook ${URL} ${SECRET} timeout=1s", "echo"]
disconnect = ["webhook ${URL} ${SECRET} timeout=1s"]
"""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    yield server
    server.kill()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def test_who_left_during_a_deploy_is_told_after_the_restart(
    serve: Serve, redis: RedisServer, receiver: Receiver
) -> None:
    environ = {"REDIS_URL": redis.url, "URL": receiver.url, "SECRET": SECRET}
    receiver.answers += [lambda answer: time.sleep(3)] * 4
    receiver.answers += [503] * 100
    before = serve(TOML, **environ)
    clients = [connect(before.url(f"/{number}"), legacy=True) for number in range(20)]
    before.signal(signal.SIGTERM)
    for client in clients:
        client.close()
    assert before.process.wait(20) == 0
    assert "20 events" in before.wait_for(r".*wait in Redis")[0]
    receiver.answers, receiver.requests = [], []
    after = serve(TOML, **environ)
    receiver.wait_for(20)
    assert {event["type"] for event in receiver.events} == {"client.disconnect"}
    assert {event["data"]["path"] for event in receiver.events} == {f"/{number}" for number in range(20)}
    assert receiver.signed
    assert after.stop() == 0
    assert redis.say("KEYS", "fws:webhook*") == []
    assert len(receiver.requests) == 20
    assert "Traceback" not in before.output + after.output


def test_another_node_delivers_what_a_killed_one_had(serve: Serve, redis: RedisServer, receiver: Receiver) -> None:
    environ = {"REDIS_URL": redis.url, "URL": receiver.url, "SECRET": SECRET}
    here, there = serve(TOML, **environ), serve(TOML, **environ)
    receiver.answers = [503] * 100
    with connect(here.url(), legacy=True) as client:
        for message in ("one", "two", "three"):
            client.send(message)
            assert client.recv(10) == message
        wait_until(lambda: kept(redis) == 3)
        here.process.kill()
        here.process.wait(10)
    receiver.answers, receiver.requests = [], []
    [lease] = redis.say("KEYS", "fws:webhook:*:lease")
    assert 0 < redis.say("PTTL", lease) <= 15_000
    redis.say("DEL", lease)  # instead of waiting until it expires
    receiver.wait_for(3)
    assert receiver.messages == ["one", "two", "three"]
    assert there.stop() == 0
    assert "took over 3 webhook events" in there.output


def test_the_example_tells_its_receiver(serve: Serve) -> None:
    """The commands of docs/webhooks.md, with a free port instead of 8000."""
    port = str(free_port())
    script = str(ROOT / "conf" / "webhooks" / "receiver.py")
    environ = os.environ | {"WEBHOOK_SECRET": SECRET, "PORT": port}
    with subprocess.Popen([sys.executable, script], env=environ, stdout=subprocess.PIPE, text=True) as receiver:
        try:
            assert receiver.stdout is not None
            url = f"http://127.0.0.1:{port}/"
            server = serve(ROOT / "conf" / "webhooks.toml", WEBHOOK_SECRET=SECRET, WEBHOOK_URL=url)
            with connect(server.url("/tea"), legacy=True) as client:
                client.send("hello")
                assert client.recv(10) == "hello"
            told = [msgspec.json.decode(receiver.stdout.readline()) for _ in range(3)]
            assert [one["type"] for one in told] == ["client.connect", "client.disconnect", "batch"]
            assert told[2]["data"]["events"][0]["data"]["message"] == "hello"
            server.stop()
        finally:
            receiver.kill()


def test_the_lines_for_node_accept_what_fws_signs_and_nothing_else(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    page = (ROOT / "docs" / "webhooks.md").read_text()
    source = re.findall(r"^```js\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[0]
    body = '{"text":"\u00fc"}'.encode()
    headers = signed(KEY, "id-1", time.time(), body)
    late = signed(KEY, "id-1", time.time() - 301, body)
    calls = [
        (headers, body),
        (headers | {"webhook-signature": "v1,x " + headers["webhook-signature"]}, body),
        (headers, body + b" "),
        (headers | {"webhook-id": "id-2"}, body),
        (late, body),
        ({}, body),
    ]
    for one, content in calls:
        given = ", ".join((msgspec.json.encode(one).decode(), f'Buffer.from("{content.hex()}", "hex")'))
        source += f'console.log(isValid("{SECRET}", {given}));\n'
    done = subprocess.run([node, "-e", source], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == ["true", "true", "false", "false", "false", "false"]
