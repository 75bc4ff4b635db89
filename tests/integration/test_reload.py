"""Reload of real servers: one process and several workers, in memory and with Redis, while clients are connected."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.cli.command import environment
from tests.integration.conftest import Running, Serve
from tests.integration.operator import Operator, asked
from tests.integration.raw import Raw
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.process

WORD = """
from fws import Filter
class Word(Filter):
    waits = False
    word: str = "WORD"
    def message(self, client, message):
        return f"{message} {self.word}"
"""
KINDS = ["one process", "one process and Redis", "two workers"]


def conf(message: str, more: str = "", head: str = "") -> str:
    return (
        f'{head}\n[redis]\nurl = "${{REDIS_URL:-}}"\n[pipelines]\nconnect = ["join all"]\nmessage = [{message}]\n{more}'
    )


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


Start = Callable[..., Operator]


@pytest.fixture
def start(serve: Serve, tmp_path: Path, redis: RedisServer) -> Iterator[Start]:
    operators: list[Operator] = []

    def make(toml: str, kind: str = KINDS[0], *arguments: str, **options: str) -> Operator:
        environ = {} if kind == KINDS[0] else {"REDIS_URL": redis.url}
        count = 2 if kind == KINDS[2] else 1
        server: Running = serve(
            toml, "--workers", str(count), *arguments, pipelines={"word": WORD}, **environ, **options
        )
        if count > 1:
            server.wait_for(r"(?s)(?:worker \d+ \(pid \d+\) serves.*){2}")
        operators.append(Operator(server, tmp_path))
        return operators[-1]

    yield make
    for operator in operators:
        operator.close()


@pytest.mark.parametrize("kind", KINDS)
def test_clients_stay_connected_and_their_next_message_runs_in_the_new_generation(start: Start, kind: str) -> None:
    operator = start(conf('"word one", "echo"'), kind)
    clients = [operator.client() for _ in range(6)]
    assert {asked(client, "a") for client in clients} == {"a one"}
    operator.edit(conf('"word two", "echo"'))
    dry = operator.fws("reload", "--dry-run")
    assert dry.returncode == 0
    assert dry.stdout.startswith("generation 1 -> 2\n  ~ * message/word")
    assert {asked(client, "b") for client in clients} == {"b one"}
    done = operator.fws("reload")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "generation 2 is in force")
    assert {asked(client, "c") for client in clients} == {"c two"}
    operator.module("word", WORD.replace('f"{message} {', 'f"{message}! {'))
    assert operator.reload() == 0
    assert {asked(client, "d") for client in clients} == {"d! two"}
    assert "nothing has changed" in operator.fws("reload").stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_file_leaves_everything_and_exits_with_4(start: Start, kind: str) -> None:
    operator = start(conf('"word one", "echo"'), kind)
    client = operator.client()
    operator.edit(conf('"wrod two", "ecko"'))
    done = operator.fws("reload")
    assert done.returncode == 4
    assert "did you mean 'word'" in done.stdout
    assert "did you mean 'echo'" in done.stdout
    operator.server.wait_for(r"the reload was refused, generation 1 stays in force")
    operator.edit("[pipelines\n")
    assert operator.reload() == 4
    assert "Traceback" not in operator.server.output
    assert asked(client, "a") == "a one"
    operator.edit(conf('"word two", "echo"'))
    assert operator.reload() == 0
    assert asked(client, "b") == "b two"


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[2]])
def test_what_needs_a_restart_exits_with_3(start: Start, kind: str) -> None:
    operator = start(conf('"echo"'), kind)
    operator.edit(conf('"word x"', head='[server]\nlisten = ":9999"'))
    done = operator.fws("reload")
    assert done.returncode == 3
    assert re.search(r"! \[server\] listen .*needs a restart", done.stdout)
    client = operator.client()
    assert asked(client, "a") == "a"


@pytest.mark.parametrize("kind", KINDS)
def test_hanging_up_reloads(start: Start, kind: str) -> None:
    operator = start(conf('"word one", "echo"'), kind)
    client = operator.client()
    operator.edit(conf('"word two", "echo"'))
    operator.server.signal(signal.SIGHUP)
    operator.server.wait_for("generation 2 is in force" + (" in 2 workers" if kind == KINDS[2] else ""))
    assert asked(client, "a") == "a two"


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[2]])
def test_the_tests_of_the_file_must_pass(start: Start, kind: str) -> None:
    operator = start(conf('"word one", "echo"'), kind)
    test = "[[test]]\nname = \"t\"\nscript = '''\nann> connect /\nann> a\nann< a one\n'''\n"
    operator.edit(conf('"word two", "echo"', test))
    done = operator.fws("reload")
    assert done.returncode == 4
    assert "expected ann to receive a one" in done.stdout
    assert operator.reload("--no-test") == 0
    client = operator.client()
    assert asked(client, "a") == "a two"


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[2]])
def test_clients_of_a_removed_endpoint_are_closed_with_1001(start: Start, kind: str) -> None:
    operator = start(conf('"echo"', '[endpoints."/a"]\nmessage = ["echo"]\n'), kind)
    gone, stays = operator.client("/a"), operator.client("/")
    operator.edit(conf('"echo"'))
    assert operator.reload() == 0
    with pytest.raises(ConnectionClosed):
        gone.recv(timeout=10)
    assert gone.close_code == 1001
    assert asked(stays, "x") == "x"


def test_limits_origins_and_files_apply_from_then_on(start: Start, tmp_path: Path) -> None:
    operator = start(conf('"echo"'))
    client = operator.client()
    (tmp_path / "conf" / "pages").mkdir()
    (tmp_path / "conf" / "pages" / "a.txt").write_text("hello")
    head = '[server]\nstatic = "pages"\norigins = ["https://a.example"]\n[limits]\nmax_message = "1KiB"\n'
    operator.edit(conf('"echo"', head=head))
    assert operator.reload() == 0
    assert urlopen(f"{operator.server.page}/a.txt", timeout=10).read() == b"hello"
    with operator.server.connect() as sock:
        Raw(sock, "/", "Origin: https://a.example")
    client.send("x" * 2000)
    with pytest.raises(ConnectionClosed):
        client.recv(timeout=10)
    assert client.close_code == 1009
    operator.edit(conf('"echo"', head=f"{head}exempt = []\nclients_per_address = 1"))
    assert operator.reload() == 0
    operator.client()  # the earlier ones were exempt, and do not count
    with pytest.raises(InvalidStatus, match="429"):
        operator.client()


def test_an_old_filter_that_blocks_for_ten_seconds_delays_nothing(start: Start, tmp_path: Path) -> None:
    (tmp_path / "pipelines").mkdir(exist_ok=True)
    (tmp_path / "pipelines" / "sleepy.py").write_text(
        "import time\nfrom fws import Filter\nclass Sleepy(Filter):\n    def message(self, client, message):\n"
        "        if message == 'sleep':\n            time.sleep(10)\n"
    )
    operator = start(conf('"sleepy", "word one", "echo"'))
    sleeper, other = operator.client(), operator.client()
    sleeper.send("sleep")
    assert asked(other, "a") == "a one"
    operator.edit(conf('"sleepy", "word two", "echo"'))
    began = time.monotonic()
    assert operator.reload() == 0
    assert asked(other, "b") == "b two"
    assert time.monotonic() - began < 8
    assert str(sleeper.recv(timeout=15)) == "sleep one", "the event in progress finished in the old generation"
    assert asked(sleeper, "c") == "c two"


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[2]])
def test_watch_follows_edits_and_survives_a_broken_file(start: Start, kind: str) -> None:
    operator = start(conf('"word one", "echo"'), kind, "--watch")
    in_force = "in force in 2 workers" if kind == KINDS[2] else "in force"
    client = operator.client()
    operator.edit(conf('"wrod two", "echo"'))
    operator.server.wait_for(r"test\.toml has changed")
    operator.server.wait_for(r"did you mean 'word'")
    operator.edit(conf('"word three", "echo"'))
    operator.server.wait_for(rf"generation 2 is {in_force}")
    assert asked(client, "a") == "a three"
    operator.module("word", WORD.replace("{message}", "<{message}>"))
    operator.server.wait_for(r"pipelines/word\.py has changed")
    operator.server.wait_for(rf"generation 3 is {in_force}")
    assert asked(client, "b") == "<b> three"
    operator.conf.with_name("test_test.toml").write_text(
        "[[test]]\nname = \"t\"\nscript = '''\nann> connect /\nann> a\nann< other\n'''\n"
    )
    operator.server.wait_for(r"test_test\.toml is new")


def test_watch_waits_for_a_file_that_is_broken_at_the_start(serve: Serve, tmp_path: Path) -> None:
    server = serve('[pipelines]\nmessage = ["ecko"]', "--watch", ready=False)
    server.wait_for(r"waiting until .*test\.toml is mended")
    (tmp_path / "conf" / "test.toml").write_text('[pipelines]\nmessage = ["echo"]')
    server.ready()
    broken = serve('[pipelines]\nmessage = ["ecko"]', ready=False)
    assert broken.process.wait(15) == 78


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [1, 2])
def test_random_edits_while_clients_talk(start: Start, kind: str, seed: int) -> None:
    """Compared with a model: answers come in order, from a generation that was in force, and never from an older one.

    An edit whose reload is confirmed answers every later message. A refused edit never answers.
    """
    chance = random.Random(seed)
    operator = start(conf('"word 0", "echo"'), kind)
    confirmed, offered, refused = 0, 0, set()
    over = threading.Event()
    failures: list[str] = []
    counts: list[int] = []

    def talk(number: int) -> None:
        client = operator.client()
        newest = sent = 0
        while not over.is_set():
            least = confirmed
            answer = asked(client, f"{number}-{sent}").split()
            generation = int(answer[-1])
            if (
                answer[0] != f"{number}-{sent}"
                or not max(least, newest) <= generation <= offered
                or generation in refused
            ):
                failures.append(f"{answer} to {number}-{sent} with {least}, {newest}, {offered}")
                break
            newest = generation
            sent += 1
        counts.append(sent)

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for number in range(1, 9):
        what = chance.choice(["word", "word", "filter", "more", "broken"])
        extra = {"more": '"max_message 1KiB", ', "broken": '"nonsense", '}.get(what, "")
        if what == "filter":
            operator.module("word", f"{WORD}\n# {number}\n")
        if what == "broken":
            refused.add(number)
        offered = number
        operator.edit(conf(f'{extra}"word {number}", "echo"'))
        status = operator.reload()
        assert status == (4 if what == "broken" else 0)
        if status == 0:
            confirmed = number
    over.set()
    for thread in threads:
        thread.join(20)
    assert failures == []
    assert len(counts) == 4
    assert min(counts) > 10


def test_a_server_is_found_without_saying_which_if_it_is_the_only_one(start: Start, tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir()
    operator = start(conf('"echo"'), KINDS[0], XDG_RUNTIME_DIR=str(runtime))
    assert operator.socket.startswith(str(runtime / "fws"))
    assert os.stat(operator.socket).st_mode & 0o777 == 0o600
    environ = environment(XDG_RUNTIME_DIR=str(runtime))

    def fws(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "fws", *arguments]
        return subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=30)

    assert fws("reload").returncode == 0
    assert fws("reload", "--conf", "conf/test.toml").returncode == 0
    missing = fws("reload", "--conf", "other.toml")
    assert (missing.returncode, missing.stderr) == (69, "fws: no server of other.toml is running\n")
    assert operator.server.stop() == 0
    assert fws("reload").stderr == "fws: no server is running\n"
    assert list((runtime / "fws").iterdir()) == []
