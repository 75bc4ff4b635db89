"""`fws run --workers`: several processes on one port, and what their supervisor does if they die, freeze, or must
drain. Real processes, signals and a real Redis."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import re
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect, unix_connect

from tests.integration.conftest import Running, Serve
from tests.integration.raw import TEXT, Raw, request
from tests.integration.redis_server import RedisServer

# `who` greets a client with the number of the process that has it.
WHO = """
import os
from fws import Filter


class Who(Filter):
    def connect(self, client):
        client.send(str(os.getpid()))
"""
CONF = """
[server]
drain = "5s"
[redis]
url = "${REDIS_URL:-}"
prefix = "PREFIX:"
[pipelines]
connect = ["join all", "who"]
message = ["broadcast all"]
"""
# The limit on silence is 20 s; with this in place of `-m fws` it is 2.
IMPATIENT = (
    "-c",
    "import fws.__main__, fws.workers.supervisor; fws.workers.supervisor.FROZEN = 2.0; fws.__main__.main()",
)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


class Several:
    """A supervisor and its workers."""

    def __init__(self, running: Running, count: int) -> None:
        self.running = running
        self.count = count
        self.wait_for_serving(count)

    def wait_for_serving(self, number: int, timeout: float = 15) -> None:
        """Wait until this many workers in total have begun to serve."""
        self.running.wait_for(rf"(?s)(?:worker \d+ \(pid \d+\) serves.*){{{number}}}", timeout)

    def is_gone(self) -> bool:
        """Whether no worker is left."""
        return not any(map(alive, self.pids))

    @property
    def pids(self) -> list[int]:
        """The pids of all workers that have served, in order."""
        return [int(pid) for pid in re.findall(r"\(pid (\d+)\) serves", self.running.output)]

    def client(self, stack: contextlib.ExitStack) -> tuple[ClientConnection, int]:
        """A client, and the pid of its process."""
        client = stack.enter_context(connect(self.running.url()))
        return client, int(str(client.recv(timeout=10)))

    def clients(self, stack: contextlib.ExitStack) -> dict[int, ClientConnection]:
        """A client of each worker, by pid."""
        found: dict[int, ClientConnection] = {}
        while len(found) < self.count:
            client, pid = self.client(stack)
            found.setdefault(pid, client)
        return found


StartSeveral = Callable[..., Several]


@pytest.fixture
def several(serve: Serve, redis: RedisServer, tmp_path: Path) -> Iterator[StartSeveral]:
    """`several(count, …)`, with the arguments of `serve`."""
    made: list[Several] = []

    def start(count: int, *arguments: str, conf: str = CONF, **options: Any) -> Several:
        pipelines = {"who": WHO} | dict(options.pop("pipelines", {}))
        conf = conf.replace("PREFIX", tmp_path.name)
        running = serve(conf, "--workers", str(count), *arguments, pipelines=pipelines, REDIS_URL=redis.url, **options)
        made.append(Several(running, count))
        return made[-1]

    yield start
    for one in made:
        one.running.end()
        wait_until(one.is_gone)


def alive(pid: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def wait_until(condition: Callable[[], object], timeout: float = 10) -> float:
    """Wait until `condition()` is true. Returns the seconds."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < timeout, "in vain"
        time.sleep(0.02)
    return time.monotonic() - begin


def test_several_without_redis_are_refused_with_a_sentence(serve: Serve) -> None:
    server = serve('[pipelines]\nmessage = ["echo"]\n', "--workers", "3", ready=False)
    assert server.process.wait(10) == 78
    assert "3 workers need Redis" in server.wait_for("fws: .*")[0]
    assert "set [redis] url" in server.output
    assert "Traceback" not in server.output


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ("2", "WEB_CONCURRENCY=2 is ignored, and one worker serves: 2 workers need Redis"),
        ("many", "WEB_CONCURRENCY='many' is ignored: write 1 to 256"),
    ],
)
def test_the_number_of_workers_from_a_platform_is_a_hint(serve: Serve, wish: str, said: str) -> None:
    """Fault: Heroku sets the variable by itself, and the server ended with status 78."""
    server = serve('[pipelines]\nmessage = ["echo"]\n', WEB_CONCURRENCY=wish)
    server.wait_for(f"warning {re.escape(said)}")
    with connect(server.url()) as client:
        client.send("hello")
        assert client.recv(timeout=10) == "hello"


def test_one_worker_is_one_process(serve: Serve) -> None:
    server = serve('[pipelines]\nmessage = ["echo"]\n', "--workers", "1")
    assert not Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
    assert "worker " not in server.output
    assert server.stop() == 0


def test_a_thousand_connections_are_spread_evenly(several: StartSeveral) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    try:
        server = several(4)
        with contextlib.ExitStack() as stack:

            def arrive(_: int) -> bytes:
                raw = Raw(stack.enter_context(server.running.connect()))
                return raw.receive()[1]

            with ThreadPoolExecutor(20) as pool:
                at_once = collections.Counter(pool.map(arrive, range(500)))
            one_by_one = collections.Counter(arrive(number) for number in range(500))
        for count in (at_once + one_by_one).values():
            assert 150 <= count <= 350
        assert len(at_once) == 4
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_messages_cross_from_worker_to_worker_and_one_banner_is_shown(
    several: StartSeveral, redis: RedisServer, tmp_path: Path
) -> None:
    server = several(3)
    with contextlib.ExitStack() as stack:
        clients = server.clients(stack)
        assert sorted(clients) == sorted(server.pids)
        wait_until(lambda: redis.say("PUBSUB", "NUMSUB", f"{tmp_path.name}:all")[1] == 3)
        one, *others = clients.values()
        one.send("to all")
        for client in (one, *others):
            assert client.recv(timeout=10) == "to all"
    assert server.running.output.count("fws serves") == 1
    assert server.running.stop() == 0
    for number in "123":
        assert re.search(rf"info    \[{number}\] stopped", server.running.output)


def test_json_lines_name_the_worker(several: StartSeveral) -> None:
    server = several(2, "--log-format", "json", ready=False)
    assert server.running.stop() == 0
    lines = [json.loads(line) for line in server.running.lines if line.startswith("{")]
    assert {line["worker"] for line in lines if line["message"] == "stopped" and "worker" in line} == {1, 2}
    assert [line["message"].startswith("listening on 127.0.0.1:") for line in lines].count(True) == 1


def test_a_unix_socket_is_shared_and_removed_in_the_end(several: StartSeveral, tmp_path: Path) -> None:
    path = tmp_path / "fws.sock"
    server = several(2, listen=f"unix:{path}", ready=False)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(unix_connect(str(path), "ws://localhost/")) for _ in range(20)]
        assert {int(client.recv(timeout=10)) for client in clients} == set(server.pids)
    os.kill(server.pids[0], signal.SIGKILL)
    server.wait_for_serving(3)
    assert path.exists()
    assert server.running.stop() == 0
    assert not path.exists()


def test_a_dead_worker_is_replaced_within_2_s_and_the_others_do_not_notice(several: StartSeveral) -> None:
    server = several(2)
    with contextlib.ExitStack() as stack:
        clients = server.clients(stack)
        dead, *others = server.pids
        begin = time.monotonic()
        os.kill(dead, signal.SIGKILL)
        server.wait_for_serving(3)
        assert time.monotonic() - begin < 2
        assert server.pids[2] not in (dead, *others)
        clients[others[0]].send("still here")
        assert clients[others[0]].recv(timeout=10) == "still here"
        assert server.pids[2] in server.clients(stack)
    server.running.wait_for(rf"worker 1 \(pid {dead}\) ended by SIGKILL|worker 2 \(pid {dead}\) ended by SIGKILL")


def test_one_that_dies_at_start_is_retried_while_the_others_live(several: StartSeveral, tmp_path: Path) -> None:
    poison = tmp_path / "poison"
    source = f"""
from pathlib import Path
from fws import Filter


class Frail(Filter):
    def start(self):
        if Path({str(poison)!r}).exists():
            raise LookupError("poison")

    def message(self, client, message): ...
"""
    server = several(2, conf=CONF.replace('"broadcast all"', '"frail", "broadcast all"'), pipelines={"frail": source})
    poison.touch()
    os.kill(server.pids[1], signal.SIGKILL)
    server.running.wait_for(r"error +\[\d\] pipelines.frail.Frail.start .* failed to start: LookupError: poison")
    server.running.wait_for(r"ended with 1: the next one starts in 1 s")
    with contextlib.ExitStack() as stack:
        assert {server.client(stack)[1] for _ in range(5)} == {server.pids[0]}
        server.running.wait_for(r"ended with 1: the next one starts in 2 s")
        poison.unlink()
        server.wait_for_serving(3)


def test_when_none_can_start_the_exit_status_is_1(serve: Serve, redis: RedisServer) -> None:
    bad = "from fws import Filter\nclass Bad(Filter):\n    def start(self):\n        raise LookupError('no sensor')\n"
    bad += "    def message(self, client, message): ...\n"
    server = serve(
        f'[redis]\nurl = "{redis.url}"\n[pipelines]\nmessage = ["bad"]\n',
        "--workers",
        "2",
        pipelines={"bad": bad},
        ready=False,
    )
    assert server.process.wait(15) == 1
    server.wait_for("no sensor")
    server.wait_for("no worker could start")
    assert "fws serves" not in server.output
    assert "Traceback" not in server.output


STUCK = """
import itertools
from fws import Filter


class Stuck(Filter):
    def message(self, client, message):
        if message == "python":
            while True:
                pass
        if message == "c":
            sum(itertools.repeat(0))
"""


@pytest.mark.parametrize(
    ("message", "culprit"),
    [
        (
            "python",
            r"did not respond for \d s and was killed: message: pipelines\.stuck\.Stuck\.message "
            r"\(stuck\.py:(?:9|10)\), client \S+",
        ),
        ("c", r"did not respond for \d s and was killed: .*stuck\.py:12 message"),
    ],
)
def test_a_frozen_worker_is_replaced_and_the_culprit_named(several: StartSeveral, message: str, culprit: str) -> None:
    conf = CONF.replace('"broadcast all"', '"stuck", "broadcast all"')
    server = several(2, conf=conf, pipelines={"stuck": STUCK}, program=IMPATIENT)
    with contextlib.ExitStack() as stack:
        client, pid = server.client(stack)
        begin = time.monotonic()
        client.send(message)
        server.running.wait_for(rf"\(pid {pid}\) {culprit}")
        server.wait_for_serving(3)
        # The silence, the time to answer, and the start.
        assert time.monotonic() - begin < 2 + 1.5 + 3
        assert not alive(pid)


def test_a_stopped_worker_is_replaced_too(several: StartSeveral) -> None:
    server = several(2, program=IMPATIENT)
    os.kill(server.pids[0], signal.SIGSTOP)
    server.running.wait_for(r"did not respond for \d s and was killed: it is stopped")
    server.wait_for_serving(3)
    assert not alive(server.pids[0])


def test_while_one_is_frozen_new_clients_get_to_the_other_at_once(several: StartSeveral) -> None:
    server = several(2)
    os.kill(server.pids[0], signal.SIGSTOP)
    with contextlib.ExitStack() as stack:
        begin = time.monotonic()
        assert {server.client(stack)[1] for _ in range(30)} == {server.pids[1]}
        assert time.monotonic() - begin < 5
    os.kill(server.pids[0], signal.SIGCONT)


def test_workers_end_when_their_supervisor_dies(several: StartSeveral) -> None:
    conf = CONF.replace('"broadcast all"', '"stuck", "broadcast all"')
    server = several(3, conf=conf, pipelines={"stuck": STUCK})
    with contextlib.ExitStack() as stack:
        clients = server.clients(stack)
        frozen, told, _ = clients
        clients[frozen].send("python")
        server.running.process.kill()
        seconds = wait_until(lambda: not any(map(alive, server.pids)))
        assert seconds < 5
        with pytest.raises(ConnectionClosed) as closed:
            clients[told].recv(timeout=10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001


@pytest.mark.parametrize("everybody", [False, True], ids=["the supervisor", "every process"])
def test_a_signal_drains_all(several: StartSeveral, everybody: bool) -> None:
    """Some platforms send SIGTERM to every process. A worker gets it twice then, and must not end at once."""
    server = several(2)
    with contextlib.ExitStack() as stack:
        clients = [server.client(stack)[0] for _ in range(20)]
        server.running.signal(signal.SIGTERM)
        for pid in server.pids if everybody else []:
            os.kill(pid, signal.SIGTERM)
        for client in clients:
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(timeout=10)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
        assert server.running.process.wait(10) == 0
    assert not any(map(alive, server.pids))
    with pytest.raises(OSError, match="refused"):
        server.running.connect()


def test_a_second_signal_ends_all_at_once(several: StartSeveral) -> None:
    server = several(2, conf=CONF.replace('"5s"', '"60s"\n[limits]\nclose_timeout = "60s"'))
    with server.running.connect() as sock:
        raw = Raw(sock)
        server.running.signal(signal.SIGTERM)
        while raw.receive()[0] == TEXT:
            pass
        server.running.signal(signal.SIGTERM)
        assert server.running.process.wait(3) == 1
    wait_until(lambda: not any(map(alive, server.pids)))


def test_hanging_up_ends_nobody(several: StartSeveral) -> None:
    server = several(2)
    for pid in (server.running.process.pid, *server.pids):  # as `pkill -HUP fws` does
        os.kill(pid, signal.SIGHUP)
    with contextlib.ExitStack() as stack:
        assert sorted(server.clients(stack)) == sorted(server.pids)
    assert len(server.pids) == 2


def test_renewing_the_workers_refuses_no_connection_and_takes_new_filters(
    several: StartSeveral, tmp_path: Path
) -> None:
    server = several(2)
    old = server.pids
    failures: list[BaseException] = []
    arrived = collections.Counter[str]()
    over = threading.Event()

    def hammer() -> None:
        while not over.is_set():
            try:
                with server.running.connect() as sock:
                    arrived[Raw(sock).receive()[1].decode()] += 1
            except BaseException as error:
                failures.append(error)

    (tmp_path / "pipelines" / "who.py").write_text(WHO.replace("str(os.getpid())", "f'new {os.getpid()}'"))
    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for pid in old:  # not meant for them, and harmless
            os.kill(pid, signal.SIGUSR2)
        server.running.signal(signal.SIGUSR2)
        server.running.wait_for("all workers have been renewed", 30)
    finally:
        over.set()
        for thread in threads:
            thread.join(20)
    assert failures == []
    assert sum(arrived.values()) > 100
    assert not any(map(alive, old))
    assert {f"new {pid}" for pid in server.pids[2:]} <= set(arrived)
    with contextlib.ExitStack() as stack, pytest.raises(ValueError, match="new"):
        server.client(stack)


def test_renewing_the_workers_waits_for_handshakes_in_progress(several: StartSeveral) -> None:
    """Fault: after one second, clients with a slow link or a busy machine got a 503 from a server that was shutting
    down.
    """
    server = several(2, conf=CONF.replace('"5s"', '"20s"'))
    whole = request()
    with contextlib.ExitStack() as stack:
        begun = [stack.enter_context(server.running.connect()) for _ in range(4)]
        for sock in begun:
            sock.sendall(whole[:20])
            time.sleep(0.1)  # accepted, by either of the two
        server.running.signal(signal.SIGUSR2)
        server.wait_for_serving(3)  # so the first of the others leaves
        time.sleep(2)
        for sock in begun:
            sock.sendall(whole[20:])
            assert sock.recv(65536).startswith(b"HTTP/1.1 101 ")


def test_a_successor_that_cannot_start_leaves_those_that_serve(several: StartSeveral, tmp_path: Path) -> None:
    server = several(2)
    (tmp_path / "conf" / "test.toml").write_text('[pipelines]\nmesage = ["echo"]\n')
    server.running.signal(signal.SIGUSR2)
    server.running.wait_for("ended with 78 before it served: what serves now stays as it is")
    assert "did you mean 'message'" in server.running.output
    with contextlib.ExitStack() as stack:
        assert sorted(server.clients(stack)) == sorted(server.pids)
    assert len(server.pids) == 2
