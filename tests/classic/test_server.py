"""The examples of the older project as a user runs them: scripts, clients, and Redis."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.certificates import threaded_context
from tests.integration.redis_server import RedisServer, free_port

ROOT = Path(__file__).parents[2]
CHAT = """
from fws.classic.server import *
from fws.classic.filters import broadcast_message_filter

parser = default_parser()
build_reactor(parser.parse_args(sys.argv[1:]))
reactor.run()
"""
STORED = """
from fws.classic.server import *
from fws.classic.filters import broadcast_messages_by_token, broadcast_pubsub, stdout_pubsub
from fws.classic.filters.base import WebSocketMessageFilter

parser = redis_parser(default_parser())
options = parser.parse_args(sys.argv[1:])
storage = RedisStorageObject(host=options.redis_host, port=options.redis_port, key=options.redis_key)


class Passing(WebSocketMessageFilter):
    @classmethod
    def filter(cls, web_socket_instance, data):
        if data.startswith(b"pass:"):
            web_socket_instance.storage_object.publish("news", bytes(data[5:]))


extra = {"storage_object": storage, "subscriber": RedisPubSubListener(storage, options.redis_channels)}
build_reactor(options, **extra)
reactor.run()
"""


class Script:
    """A server that a script runs."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.port = free_port()
        self.lines: list[str] = []
        environ = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [sys.executable, *command, "-p", str(self.port)],
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.wait_for(r"serving wss?://")

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.lines.append(line.rstrip())

    def wait_for(self, pattern: str) -> None:
        until = time.monotonic() + 15
        while not re.search(pattern, "\n".join(self.lines)):
            assert time.monotonic() < until, self.lines
            assert self.process.poll() is None or re.search(pattern, "\n".join(self.lines)), self.lines
            time.sleep(0.02)

    def client(self) -> ClientConnection:
        return connect(f"ws://127.0.0.1:{self.port}/")

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(20)
        self._reader.join(10)
        return status


@pytest.fixture
def scripts(tmp_path: Path) -> Iterator[list[Script]]:
    started: list[Script] = []
    yield started
    for script in started:
        if script.process.poll() is None:
            script.process.kill()
            script.process.wait(10)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    yield server
    server.kill()


def write(folder: Path, name: str, source: str) -> str:
    (folder / name).write_text(source)
    return name


def test_the_chat_server_of_five_lines(tmp_path: Path, scripts: list[Script]) -> None:
    script = Script([write(tmp_path, "chat_server.py", CHAT)], tmp_path)
    scripts.append(script)
    with script.client() as first, script.client() as second:
        first.send("hello")
        assert (first.recv(5), second.recv(5)) == ("hello", "hello")
        second.send(b"\xff\x00")
        assert (first.recv(5), second.recv(5)) == (b"\xff\x00", b"\xff\x00")
    assert script.end() == 0
    assert "Traceback" not in "\n".join(script.lines)


def test_help_shows_the_options_that_it_always_had(tmp_path: Path) -> None:
    name = write(tmp_path, "chat_server.py", CHAT)
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, name, "--help"], cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.returncode == 0
    for option in ("-p PORT", "--port PORT", "-key KEY", "-cert CERT", "-token TOKEN", "--config CONFIG", "--filters"):
        assert option in done.stdout


def test_filters_and_their_order_from_the_command_line(tmp_path: Path, scripts: list[Script]) -> None:
    module = """
from fws.classic.filters.base import WebSocketMessageFilter


class Mark(WebSocketMessageFilter):
    @classmethod
    def filter(cls, web_socket_instance, data):
        data += b"{mark}"
"""
    for mark in "ab":
        write(tmp_path, f"mark_{mark}.py", module.replace("{mark}", mark))
    command = ["-m", "fws", "classic", "-f", "mark_b", "mark_a", "fws.classic.filters.broadcast_messages"]
    script = Script([*command, "fws.classic.filters.stdout_rawdata", "fws.classic.filters.stdout_messages"], tmp_path)
    scripts.append(script)
    with script.client() as client:
        client.send("x")
        assert client.recv(5) == "xba"
    script.wait_for("(?s)--RAWDATA--\nb['\"].*--MESSAGE--\nxba")
    assert script.end() == 0


def test_the_json_form_of_the_options(tmp_path: Path, scripts: list[Script]) -> None:
    port = free_port()
    (tmp_path / "conf.json").write_text(
        "# a comment\n" + json.dumps({"port": port, "token": "red", "filters": [
            "fws.classic.filters.broadcast_messages_by_token"]})
    )  # fmt: skip
    script = Script(["-m", "fws", "classic", "-c", "conf.json"], tmp_path)
    scripts.append(script)
    script.port = port
    with script.client() as red, script.client() as blue, script.client() as other:
        blue.send("token:blue")
        blue.send("among the blue")
        assert blue.recv(5) == "among the blue"
        other.send("the default")
        assert other.recv(5) == "the default"
        red.send("again")
        assert (red.recv(5), other.recv(5)) == ("again", "again")


def test_servers_on_one_redis_share_storage_and_publications(
    tmp_path: Path, scripts: list[Script], redis: RedisServer
) -> None:
    name = write(tmp_path, "stored.py", STORED)
    options = ["--redis_port", str(redis.port), "--redis_key", "app", "--redis_channels", "news"]
    for _ in range(2):
        scripts.append(Script([name, *options], tmp_path))
    one, two = scripts
    with one.client() as first, two.client() as second:
        first.send("token:red")
        second.send("token:red")
        until = time.monotonic() + 10
        while redis.say("SCARD", "app:red") < 2:
            assert time.monotonic() < until
            time.sleep(0.02)
        first.send("pass:to everybody")
        assert first.recv(5) in ("pass:to everybody", "to everybody")
        assert second.recv(5) == "to everybody"
        redis.say("PUBLISH", "news", "from another application")
        assert second.recv(5) == "from another application"
        two.wait_for("--PUBSUB--\n.*b'news'.*b'to everybody'")
    until = time.monotonic() + 10
    while redis.say("EXISTS", "app:red"):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_tls_with_key_and_cert(tmp_path: Path, scripts: list[Script]) -> None:
    files = ["-key", "key.pem", "-cert", "cert.pem"]
    make = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost"
    command = [*make.split(), "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    script = Script([write(tmp_path, "chat_server.py", CHAT), *files], tmp_path)
    scripts.append(script)
    context = threaded_context(tmp_path / "cert.pem")
    with connect(f"wss://localhost:{script.port}/", ssl=context) as client:
        client.send("secret")
        assert client.recv(5) == "secret"
    assert script.end() == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-key", "none.pem"], "go together"),
        (["-key", "none.pem", "-cert", "none.pem"], "none.pem"),
        (["-f", "no_such_module"], "no_such_module"),
        (["-f", "faulty"], "SyntaxError"),
        (["-p", "99999"], "is not a port"),
        (["-c", "none.json"], "none.json"),
        (["--redis_host", "no host"], "needs a host"),
    ],
)
def test_a_server_that_cannot_start_says_why(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    write(tmp_path, "faulty.py", "def f(:")
    command = [sys.executable, "-m", "fws", "classic", "-p", "0", *arguments]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=30)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_an_option_of_redis_asks_for_redis(tmp_path: Path, scripts: list[Script], redis: RedisServer) -> None:
    """Fault: without `--redis` these options were accepted, and everything stayed in memory."""
    script = Script(["-m", "fws", "classic", "--redis_port", str(redis.port)], tmp_path)
    scripts.append(script)
    script.wait_for("is reached")
    with script.client() as client:
        client.send("token:red")
        until = time.monotonic() + 10
        while not redis.say("SMEMBERS", "fws:red"):
            assert time.monotonic() < until
            time.sleep(0.02)
        redis.say("PUBLISH", "global", "to everybody")
        assert client.recv(5) == "to everybody"


def test_the_import_patches_before_anything_is_loaded_that_it_would_miss(tmp_path: Path) -> None:
    source = """
import sys
import fws.classic.filters.stdout_messages
from fws import Filter

print([name for name in ("gevent", "socket", "ssl", "select", "threading") if name in sys.modules])
from fws.classic.server import *
from gevent import monkey

print(monkey.is_module_patched("socket"), monkey.is_module_patched("threading"))
print(all((default_parser, build_reactor, reactor, sys, RedisStorageObject)))
"""
    name = write(tmp_path, "script.py", source)
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", name]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=30)
    assert done.stdout.splitlines() == ["[]", "True True", "True"], done.stderr
