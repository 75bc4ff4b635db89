"""SIGUSR2 to a server without workers: it hands over to its successor, and nobody is refused. Real processes."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect, unix_connect

from tests.cli.command import environment
from tests.integration.conftest import ROOT, Running, Serve, launcher
from tests.integration.operator import Operator
from tests.integration.raw import TEXT, Raw
from tests.integration.redis_server import RedisServer
from tests.integration.sdk import CONF, KEY, PIPELINES, TRANSPORTS, Node

pytestmark = pytest.mark.process

CLIENTS = 2000
TOKEN = "a-token-that-all-clients-have"
# Seconds between two messages of a client.
PACE = 2.0
# Each process writes down what it has served.
SERVED = """
import os
from pathlib import Path
from fws import Filter


class Served(Filter):
    def start(self):
        self.seen = []

    def message(self, client, message):
        self.seen.append(message)

    def stop(self):
        Path(f"served-{os.getpid()}").write_text("\\n".join(self.seen))
"""
WHO = """
import os
from fws import Filter


class Who(Filter):
    def connect(self, client):
        client.send(str(os.getpid()))
"""
SMALL = '[server]\ndrain = "2s"\n[pipelines]\nconnect = ["who"]\nmessage = ["echo"]\n'


def alive(pid: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def pids(server: Running) -> list[int]:
    """The processes that have taken over, in order."""
    return [int(pid) for pid in re.findall(r"worker 1 \(pid (\d+)\) serves", server.output)]


def hand_over(server: Running, times: int = 1) -> None:
    """Send SIGUSR2, and wait until the successor has taken over for the nth time."""
    server.signal(signal.SIGUSR2)
    server.wait_for(rf"(?s)(?:the successor has taken over.*){{{times}}}", 30)


def ends_well(server: Running) -> None:
    """SIGTERM ends all processes."""
    assert server.stop() == 0, server.output
    assert not any(map(alive, [server.process.pid, *pids(server)]))
    assert "Traceback" not in server.output


def memory(pid: int) -> int:
    """Bytes of a process that no file backs."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


class Crowd:
    """The process of tests/integration/crowd.py."""

    def __init__(self, port: int, path: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.crowd", str(port), path, str(CLIENTS), str(PACE)],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def hear(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def result(self) -> Any:
        """Let it end, and return what it has seen."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        told = self.hear()
        assert self._process.wait(20) == 0
        return told

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    yield server
    server.kill()


def test_a_crowd_is_handed_over_twice_and_nothing_is_lost(tmp_path: Path, redis: RedisServer) -> None:
    """Clients of the SDK get every publication once and in order. Of 2,000 raw clients nobody is refused, and what
    they have sent is served once."""
    conf = '[server]\ndrain = "6s"\n' + CONF + '\n[endpoints."/raw"]\nmessage = ["served", "echo"]\n'
    pipelines = PIPELINES | {"served": SERVED}
    with launcher(tmp_path, None) as serve:
        publishing = serve(CONF, pipelines=pipelines, KEY=KEY, REDIS_URL=redis.url)
        server = serve(conf, pipelines=pipelines, KEY=KEY, REDIS_URL=redis.url)
        main = server.process.pid
        crowd = Crowd(server.port, "/raw")
        try:
            assert crowd.hear() == {"connected": CLIENTS}
            full = memory(main)
            times = 0

            def restart(request: Any) -> int:
                nonlocal times
                times += 1
                hand_over(server, times)
                return 0

            node = Node("restart.mjs", str(server.port), str(publishing.port), answer=restart)
            told = node.wait()
            assert memory(main) < full
            seen = crowd.result()
        finally:
            crowd.end()

        operator = Operator(server, tmp_path)
        assert "generation 1 stays in force: nothing has changed" in operator.fws("reload").stdout
        operator.edit(conf.replace("history = 10\n", "history = 11\n"))
        assert "generation 2 is in force" in operator.fws("reload").stdout
        assert publishing.stop() == 0
        ends_well(server)

    assert [one.get("transport") for one in told] == list(TRANSPORTS)
    for one in told:
        assert one["received"] == one["published"]
        assert one["wrong"] == -1
        assert one["recovered"] == [True, True]

    assert seen["wrong"] == {}
    assert len(seen["closed"]) == 2 * CLIENTS
    assert len(seen["opened"]) == 3 * CLIENTS
    assert seen["slowest"] < 3
    first = sorted(seen["closed"])[:CLIENTS]
    assert first[-1] - first[0] > 1  # 1,000 in a second
    returned = sorted(when for when in seen["opened"] if when > first[0])[:CLIENTS]
    busiest = max(collections.Counter(int(when - first[0]) for when in returned).values())
    assert busiest < 0.7 * CLIENTS

    served = [line for file in tmp_path.glob("served-*") for line in file.read_text().split("\n")]
    assert len(served) == len(set(served)) == seen["sent"]
    assert seen["sent"] - seen["answered"] < 0.02 * seen["sent"]


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    """Clients that are closed after the test."""
    with contextlib.ExitStack() as clients:
        yield clients


def greeted(stack: contextlib.ExitStack, server: Running, path: Path | None = None) -> tuple[ClientConnection, int]:
    """A client, and the process that has it."""
    made = stack.enter_context(connect(server.url()) if path is None else unix_connect(str(path), "ws://localhost/"))
    return made, int(str(made.recv(timeout=10)))


def says(client: ClientConnection, text: str) -> bool:
    client.send(text)
    return client.recv(timeout=10) == text


def close_code(client: ClientConnection) -> int:
    with pytest.raises(ConnectionClosed) as closed:
        client.recv(timeout=10)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


def test_a_successor_that_cannot_start_changes_nothing_and_the_next_one_takes_over(
    serve: Serve, tmp_path: Path, stack: contextlib.ExitStack
) -> None:
    """At UNIX sockets, whose files stay. What the file says of the sockets takes effect at a restart."""
    path, admin = tmp_path / "fws.sock", tmp_path / "admin.sock"
    key = "0123456789abcdef0123456789abcdef"
    operators = f'[admin]\nlisten = "unix:{admin}"\n[api]\nkey = "{key}"\n'
    conf = SMALL.replace("[server]", f'{operators}[server]\nlisten = "unix:{path}"')
    server = serve(conf, listen=None, ready=False, pipelines={"who": WHO})
    server.wait_for(r"control +\S+")
    operator = Operator(server, tmp_path)
    client, pid = greeted(stack, server, path)
    assert pid == server.process.pid

    operator.edit("[pipelines]\nmesage = ['echo']")
    server.signal(signal.SIGUSR2)
    server.wait_for("worker 1 .* ended with 78 before it served: what serves now stays as it is")
    assert "did you mean 'message'" in server.output
    assert says(client, "still here")
    assert operator.fws("reload").returncode == 4
    assert "workers" not in operator.fws("clients").stdout

    operator.edit(conf.replace("fws.sock", "other.sock"))
    server.signal(signal.SIGHUP)
    server.wait_for(r"\[server\] listen .*needs a restart")
    head = f"POST /api/tap HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Length: 2\r\n\r\n{{}}"
    tap = stack.enter_context(socket.socket(socket.AF_UNIX))
    tap.settimeout(10)
    tap.connect(str(admin))
    tap.sendall(head.encode())
    assert b"200 OK" in tap.recv(4096)
    hand_over(server)
    # Fault: the process lives on, and so did the tap, which showed nothing any more.
    assert b"the tap has ended" in b"".join(iter(lambda: tap.recv(4096), b""))
    server.wait_for(r"\[1\] \[server\] listen has changed in the file: this takes effect when the server is restarted")
    assert close_code(client) == 1001
    client, pid = greeted(stack, server, path)
    assert [pid] == pids(server)
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(10)
        asking.connect(str(admin))
        asking.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b'"status":"ok"' in asking.recv(4096) + asking.recv(4096)

    operator.edit(conf.replace("fws.sock", "other.sock").replace('"echo"', '"log", "echo"'))
    assert "generation 2 is in force" in operator.fws("reload").stdout
    os.kill(pid, signal.SIGKILL)
    server.wait_for(r"ended by SIGKILL: the next one starts now")
    client, pid = greeted(stack, server, path)  # waits in the socket until then
    assert pid != server.process.pid
    # Fault: a worker began with generation 1, whatever the supervisor said.
    assert "generation 2" in operator.fws("top", "--once", "--every", "0.1s").stdout
    ends_well(server)
    assert close_code(client) == 1001
    assert (path.exists(), admin.exists()) == (False, False)


LATE = """
import logging
import os
import gevent
from fws import Filter
class Late(Filter):
    def start(self):
        logging.getLogger("fws").warning("late in process %d", os.getpid())
        gevent.sleep(2)
    def message(self, client, message):
        pass
"""


def test_a_reload_while_the_successor_starts_is_in_force_there_too(serve: Serve, tmp_path: Path) -> None:
    """It was reported as done, and lost a moment later: the successor had read the former file."""
    conf = '[endpoints."/"]\nmessage = ["late", "echo"]\n'
    server = serve(conf, pipelines={"late": LATE})
    operator = Operator(server, tmp_path)
    server.signal(signal.SIGUSR2)
    server.wait_for(r"(?s)late in process.*late in process")  # which has read the file
    operator.edit(conf + '[endpoints."/new"]\nmessage = ["echo"]\n')
    assert operator.reload() == 0
    server.wait_for("worker 1 .* serves")
    server.wait_for(r"generation 2 is in force in 1 workers")
    with connect(server.url("/new"), proxy=None) as client:
        assert says(client, "hi")
    assert server.stop() == 0


@pytest.mark.parametrize("tls", [True], ids=["wss"], indirect=True)
def test_the_successor_has_the_flags_of_the_command(serve: Serve, tmp_path: Path) -> None:
    """TLS, --token, and --watch, which goes on with the successor."""
    server = serve(SMALL, "--watch", "--token", TOKEN, pipelines={"who": WHO})
    hand_over(server)
    login: dict[str, Any] = {"ssl": server.threaded_tls, "additional_headers": {"Authorization": f"Bearer {TOKEN}"}}
    with connect(server.url(), **login) as client:
        assert [int(client.recv(timeout=10))] == pids(server)
        (tmp_path / "pipelines" / "who.py").write_text(WHO.replace("str(os.getpid())", "'new'"))
        server.wait_for("generation 2 is in force in 1 worker")
        assert says(client, "hello")
    with connect(server.url(), **login) as client:
        assert client.recv(timeout=10) == "new"
    login["additional_headers"] = {"Authorization": "Bearer wrong"}
    with pytest.raises(InvalidStatus, match="401"), connect(server.url(), **login):
        pass
    ends_well(server)


ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.set_inheritable(3, True)
os.environ["LISTEN_PID"], os.environ["LISTEN_FDS"] = str(os.getpid()), "1"
os.execv(sys.executable, [sys.executable, "-m", "fws", *sys.argv[2:]])
"""


def test_a_socket_of_systemd_is_handed_over_and_stays(tmp_path: Path, stack: contextlib.ExitStack) -> None:
    path = tmp_path / "given.sock"
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "who.py").write_text(WHO)
    (tmp_path / "a.toml").write_text(SMALL)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(5)
        listener.set_inheritable(True)
        program = ("-c", ACTIVATE, str(listener.fileno()))
        server = Running(["run", "a.toml"], tmp_path, {}, program, close_fds=False)
        try:
            client, pid = greeted(stack, server, path)
            assert pid == server.process.pid
            hand_over(server)
            assert close_code(client) == 1001
            client, pid = greeted(stack, server, path)
            assert [pid] == pids(server)
            ends_well(server)
            assert path.exists()
        finally:
            server.end()


def test_a_signal_to_end_while_the_successor_starts_or_the_former_server_drains(
    serve: Serve, stack: contextlib.ExitStack
) -> None:
    server = serve(SMALL, pipelines={"who": WHO})
    client, _ = greeted(stack, server)
    server.signal(signal.SIGUSR2)
    server.wait_for("a successor is started")
    ends_well(server)
    assert close_code(client) == 1001

    server = serve(SMALL, pipelines={"who": WHO})
    with server.connect() as sock:
        raw = Raw(sock)
        server.signal(signal.SIGUSR2)
        while raw.receive()[0] == TEXT:
            pass  # until its Close, which it does not answer: so the former server waits
        successor, _ = greeted(stack, server)
        ends_well(server)
        assert close_code(successor) == 1001


def test_without_redis_the_history_goes_over_to_the_successor(serve: Serve) -> None:
    """A back end publishes without pause, through whichever process accepts its request. The clients of the SDK get
    everything once and in order, and the numbers have no hole."""
    server = serve('[server]\ndrain = "4s"\n' + CONF, pipelines=PIPELINES, KEY=KEY)
    over = threading.Event()
    offsets: list[int] = []

    def publish() -> None:
        while not over.is_set():
            body = json.dumps({"channel": "chat:load", "data": len(offsets) + 1}).encode()
            headers = {"Content-Type": "application/json", "X-API-Key": KEY}
            request = urllib.request.Request(f"{server.page}/api/publish", body, headers)
            with urllib.request.urlopen(request, timeout=10) as answer:
                offsets.append(json.load(answer)["result"]["offset"])
            time.sleep(0.005)

    def change(request: Any) -> int:
        publisher = threading.Thread(target=publish)
        publisher.start()
        try:
            for times in (1, 2):
                time.sleep(0.5)
                hand_over(server, times)
            time.sleep(0.5)
        finally:
            over.set()
            publisher.join(20)
        return len(offsets)

    told = Node("follow.mjs", str(server.port), answer=change).wait()
    assert offsets == [*range(1, len(offsets) + 1)]
    assert [one.get("transport") for one in told] == 3 * list(TRANSPORTS)
    for one in told:
        assert one["received"] == len(offsets)
        assert one["wrong"] == -1
        assert one["recovered"] == [True, True]
    ends_well(server)


STATE = """
[server]
drain = "2s"
[endpoints."/c"]
protocol = "centrifuge"
[channels."room"]
history = 100
presence = true
subscribe = "client.path == '/c'"
publish = "client.path == '/c'"
"""


def command(client: ClientConnection, **commands: Any) -> Any:
    client.send(json.dumps({"id": 1, **commands}))
    return json.loads(client.recv(timeout=10))


def test_without_redis_the_successor_has_the_history_but_begins_with_nobody_present(
    serve: Serve, stack: contextlib.ExitStack
) -> None:
    server = serve(STATE)

    def joins(**position: Any) -> tuple[ClientConnection, Any]:
        client = stack.enter_context(connect(server.url("/c")))
        assert "connect" in command(client, connect={})
        return client, command(client, subscribe={"channel": "room", **position})["subscribe"]

    kept = stack.enter_context(server.connect())
    kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = b""
    while b"}" not in answer:
        answer += kept.recv(4096)
    client, position = joins()
    client.send(json.dumps({"id": 2, "publish": {"channel": "room", "data": 1}}))
    assert {tuple(json.loads(client.recv(timeout=10))) for _ in range(2)} == {("push",), ("id", "publish")}
    hand_over(server)
    assert close_code(client) == 3001
    assert kept.recv(4096) == b""  # a proxy would not notice otherwise that another process serves

    client, found = joins(recover=True, epoch=position["epoch"], offset=0)
    assert found["epoch"] == position["epoch"]
    assert found["recovered"] is True
    assert [one["data"] for one in found["publications"]] == [1]
    assert len(command(client, presence={"channel": "room"})["presence"]["presence"]) == 1
    ends_well(server)
