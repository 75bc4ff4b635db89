"""The commands that watch a running server: tap, top, clients, kick, channels, record and replay."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from tests.cli.command import environment
from tests.integration.conftest import Serve
from tests.integration.operator import Operator, asked
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.process

CONF = """
[redis]
url = "${REDIS_URL:-}"
[pipelines]
connect = ["token ann:aaaaaaaaaaaaaaaa bob:bbbbbbbbbbbbbbbb from=query", "join all", "join user:{identity.user}"]
message = ["rate_limit 5/s burst=50", "json", "when n != 0", "reply ok"]
"""
ANN, BOB = "/?token=aaaaaaaaaaaaaaaa", "/?token=bbbbbbbbbbbbbbbb"


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


Start = Callable[[int], Operator]


@pytest.fixture
def start(serve: Serve, tmp_path: Path, redis: RedisServer) -> Iterator[Start]:
    operators: list[Operator] = []

    def make(workers: int) -> Operator:
        environ = {"REDIS_URL": redis.url} if workers > 1 else {}
        server = serve(CONF, "--workers", str(workers), **environ)
        if workers > 1:
            server.wait_for(rf"(?s)(?:worker \d+ \(pid \d+\) serves.*){{{workers}}}")
        operators.append(Operator(server, tmp_path))
        return operators[-1]

    yield make
    for operator in operators:
        operator.close()


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=20)


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """The lines of standard output up to the one that contains the text."""
    assert process.stdout is not None
    lines = ""
    for line in process.stdout:
        lines += line
        if text in line:
            return lines
    raise AssertionError(lines)


@pytest.mark.parametrize("workers", [1, 2])
def test_clients_channels_and_kick(start: Start, workers: int) -> None:
    operator = start(workers)
    clients = [operator.client(ANN) for _ in range(4)]
    bob = operator.client(BOB)
    listed = operator.json("clients")
    assert sorted(client["user"] for client in listed) == ["ann"] * 4 + ["bob"]
    # A few clients may all be with one worker.
    assert {client["worker"] for client in listed} <= ({0} if workers == 1 else {1, 2})
    assert [client["user"] for client in operator.json("clients", "--user", "bob")] == ["bob"]
    channels = {one["channel"]: one["members"] for one in operator.json("channels")}
    assert channels == {"all": 5, "user:ann": 4, "user:bob": 1}
    done = operator.fws("kick", "--user", "ann", "--code", "4000", "--reason", "go home")
    assert (done.returncode, done.stdout) == (0, "closed 4 connections\n")
    for client in clients:
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=10)
        assert (client.close_code, client.close_reason) == (4000, "go home")
    assert asked(bob, '{"n":1}') == "ok"
    (left,) = operator.json("clients")
    assert operator.fws("kick", str(left["id"])).returncode == 0
    assert operator.fws("kick", "nobody").returncode == 1
    assert operator.fws("kick").returncode == 2
    assert "1005" in operator.fws("kick", "--user", "bob", "--code", "1005").stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_a_tap_shows_events_of_all_workers_across_a_reload_without_secrets(start: Start, workers: int) -> None:
    operator = start(workers)
    clients = [operator.client(ANN) for _ in range(4)]
    tap = operator.begin("tap", "message/*")
    assert tap.stderr is not None
    for _ in range(workers):
        assert "tapping 4 stages" in tap.stderr.readline()
    for number, client in enumerate(clients):
        asked(client, f'{{"n":{number + 1},"password":"s3cret"}}')
    shown = "".join(read_until(tap, '"n":') for _ in range(4 * 4))
    assert all(f'"n":{number}' in shown for number in range(1, 5))
    assert "s3cret" not in shown
    operator.edit(CONF.replace('"json", ', '"json", "log", '))
    assert operator.reload() == 0
    clients[0].send('{"n":0}')
    shown = read_until(tap, "message/when")
    assert "message/log" in shown
    assert "DROP n != 0 is false: n = 0" in shown
    assert "skipped" in ended(tap)[1]


@pytest.mark.parametrize("workers", [1, 2])
def test_top_measures_once_for_scripts(start: Start, workers: int) -> None:
    operator = start(workers)
    clients = [operator.client(ANN) for _ in range(4)]
    top = operator.begin("top", "--json", "--every", "2s")
    end = time.monotonic() + 20
    while top.poll() is None and time.monotonic() < end:  # the command may take seconds to start
        for client in clients:
            asked(client, '{"n":1}')
        time.sleep(0.1)
    output = top.communicate(timeout=20)[0]
    found = json.loads(output)
    assert (found["clients"], found["workers"], found["generation"]) == (4, workers, 1)
    rows = {row["stage"]: row for row in found["stages"]}
    assert rows["message/reply"]["rate"] > 1
    assert found["in"] > 1 < found["out"]
    assert rows["message/json"]["p99"] >= rows["message/json"]["p50"] > 0
    operator.edit(CONF.replace("json", "jsn"))
    assert operator.reload() == 4
    shown = operator.fws("top", "--once", "--every", "100ms").stdout
    assert "the last reload was refused: " in shown
    assert "there is no filter 'jsn'" in shown


def test_a_recording_is_private_and_can_be_replayed(start: Start, tmp_path: Path) -> None:
    operator = start(1)
    file = tmp_path / "traffic.jsonl"
    record = operator.begin("record", "conf/test.toml", str(file), "--for", "30s")
    deadline = time.monotonic() + 10
    while not (file.exists() and file.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    client = operator.client(ANN)
    for number in (1, 2, 3):
        asked(client, f'{{"n":{number},"token":"s3cret"}}')
    client.send('{"n":0}')
    time.sleep(1)
    assert "events in" in ended(record)[1]
    assert file.stat().st_mode & 0o777 == 0o600
    text = file.read_text()
    assert "s3cret" not in text
    assert "aaaaaaaa" not in text

    def replay(toml: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "conf" / "edited.toml").write_text(toml)
        command = [sys.executable, "-m", "fws", "replay", str(file), "conf/edited.toml"]
        return subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60)

    # A token of a list cannot be made anew. Another login takes over.
    other = CONF.replace("token ann:aaaaaaaaaaaaaaaa bob:bbbbbbbbbbbbbbbb", f"jwt HS256 {'k' * 32}")
    same = replay(other)
    assert (same.returncode, same.stdout.splitlines()[-1].strip()) == (0, "5  as before")
    stricter = replay(other.replace("n != 0", "n < 3"))
    assert "now dropped  * message/when  edited.toml" in stricter.stdout
    assert "no longer dropped  * message/when" in stricter.stdout
