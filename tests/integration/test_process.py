"""`fws run` as a process: start, signals, draining, bad files."""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect, unix_connect

from tests.integration.conftest import ROOT, Serve
from tests.integration.raw import TEXT, Raw

CHATTY = """
[server]
drain = "5s"
[pipelines]
connect = ["join all"]
message = ["echo"]
disconnect = ["log 'gone {client.id}'"]
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_tells_every_client_and_ends_with_0(serve: Serve, number: int) -> None:
    server = serve(CHATTY)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(server.url())) for _ in range(30)]
        server.signal(number)
        for client in clients:
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(timeout=10)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
    assert server.process.wait(10) == 0
    assert server.wait_for("stopped")
    assert len([line for line in server.lines if "info    gone" in line]) == 30


def test_messages_before_the_signal_arrive_before_the_close(serve: Serve) -> None:
    server = serve(CHATTY)
    with connect(server.url(), max_size=None) as client:
        client.send("x" * 500_000)
        time.sleep(0.3)
        server.signal(signal.SIGTERM)
        assert client.recv(timeout=10) == "x" * 500_000
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=10)
    assert server.process.wait(10) == 0


def test_a_client_that_does_not_leave_is_cut_off(serve: Serve) -> None:
    server = serve(CHATTY.replace('"5s"', '"2s"'))
    with server.connect() as sock:
        raw = Raw(sock)
        begin = time.monotonic()
        server.signal(signal.SIGTERM)
        assert raw.close_code()[0] == 1001
        assert server.process.wait(10) == 0
        assert time.monotonic() - begin < 4
        assert "gone" in server.wait_for("gone[^\n]*")[0]


def test_the_exit_is_within_the_drain_time_even_if_filters_never_end(serve: Serve) -> None:
    """Fault: the last steps took additional time, and a platform that kills after the same time cut them off."""
    server = serve(
        '[server]\ndrain = "4s"\n[pipelines]\nmessage = ["stubborn", "echo"]\n',
        pipelines={
            "stubborn": """
import time
from fws import Filter


class Stubborn(Filter):
    def message(self, client, message):
        client.send("begun")
        while True:
            try:
                time.sleep(60)
            except BaseException:
                pass

    def stop(self):
        time.sleep(60)
"""
        },
    )
    with server.connect() as sock:
        raw = Raw(sock)
        raw.send(TEXT, b"x")
        assert raw.receive() == (TEXT, b"begun")
        begin = time.monotonic()
        server.signal(signal.SIGTERM)
        assert server.process.wait(10) == 0
        # With a little for the interpreter to end.
        assert time.monotonic() - begin < 4.5


def test_no_new_clients_while_draining(serve: Serve) -> None:
    server = serve(CHATTY.replace('"5s"', '"3s"'))
    with server.connect() as sock:
        raw = Raw(sock)
        server.signal(signal.SIGTERM)
        raw.close_code()
        with pytest.raises(OSError):  # noqa: PT011  (refused or reset)
            server.connect().recv(1)
    server.process.wait(10)


def test_a_second_signal_exits_at_once(serve: Serve) -> None:
    server = serve(CHATTY.replace('"5s"', '"60s"').replace("[server]", '[limits]\nclose_timeout = "60s"\n[server]'))
    with server.connect() as sock:
        raw = Raw(sock)
        server.signal(signal.SIGTERM)
        raw.close_code()
        server.signal(signal.SIGTERM)
        assert server.process.wait(3) == 1


def test_a_wrong_file_exits_with_78_and_tells_all_problems(serve: Serve) -> None:
    server = serve('[pipelines]\nmesage = ["echo"]\nmessage = ["eco", "rate_limit fast"]\n', ready=False)
    assert server.process.wait(10) == 78
    server.wait_for("3 problems")
    assert "did you mean 'message'" in server.output
    assert "did you mean 'echo'" in server.output
    assert "test.toml:3:" in server.output
    assert "Traceback" not in server.output


def test_a_missing_file(serve: Serve, tmp_path: Path) -> None:
    server = serve(tmp_path / "nothing.toml", ready=False)
    assert server.process.wait(10) == 78
    assert "Traceback" not in server.output


def test_a_port_in_use_is_reported_in_a_sentence(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = serve(CHATTY, listen=f"127.0.0.1:{taken.getsockname()[1]}", ready=False)
        assert server.process.wait(10) == 1
        assert "another program listens there" in server.wait_for("cannot listen.*")[0]
        assert "Traceback" not in server.output


def test_port_variable_wins_over_the_file(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = serve('[server]\nlisten = "127.0.0.1:1"\n' + CHATTY.replace("[server]\n", ""), listen=None, PORT=str(port))
    assert server.port == port


def test_ipv6_and_unix_sockets(serve: Serve, tmp_path: Path) -> None:
    server = serve(CHATTY, listen="[::1]:0", ready=False)
    port = int(server.wait_for(r"connect +ws://\[::1\]:(\d+)/")[1])
    with connect(f"ws://[::1]:{port}/") as client:
        client.send("six")
        assert client.recv() == "six"
    path = tmp_path / "fws.sock"
    unix = serve(CHATTY, listen=f"unix:{path}", ready=False)
    unix.wait_for("listens +unix:")
    for _ in range(3):  # gevent-websocket's H6: every client of a Unix socket has the same address
        with unix_connect(str(path), "ws://localhost/") as client:
            client.send("local")
            assert client.recv() == "local"
    assert unix.stop() == 0
    assert not path.exists()


def test_a_stale_socket_file_is_replaced_and_a_live_one_is_not(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "fws.sock"
    first = serve(CHATTY, listen=f"unix:{path}", ready=False)
    first.wait_for("listens")
    second = serve(CHATTY, listen=f"unix:{path}", ready=False)
    assert second.process.wait(10) == 1
    first.process.kill()
    first.process.wait()
    third = serve(CHATTY, listen=f"unix:{path}", ready=False)
    third.wait_for("listens")


def test_the_socket_file_of_a_server_that_is_stuck_does_not_hold_up_the_start(serve: Serve, tmp_path: Path) -> None:
    """Fault: nobody accepts there and the queue is full, so that connecting blocked forever."""
    path = str(tmp_path / "fws.sock")
    with socket.socket(socket.AF_UNIX) as stuck, contextlib.ExitStack() as stack:
        stuck.bind(path)
        stuck.listen(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                peer = stack.enter_context(socket.socket(socket.AF_UNIX))
                peer.setblocking(False)
                peer.connect(path)
        server = serve(CHATTY, listen=f"unix:{path}", ready=False)
        assert server.process.wait(10) == 1
        server.wait_for("another program listens there")


def test_the_soft_file_limit_is_raised_and_a_low_one_named(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[pipelines]\nmessage = ["echo"]\n')

    def limits(soft: int, hard: int) -> str:
        process = subprocess.Popen(
            [sys.executable, "-m", "fws", "run", "a.toml", "--listen", "127.0.0.1:0"],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
        )
        assert process.stdout is not None
        output = b""
        while b"connect " not in output:
            line = process.stdout.readline()
            assert line, output
            output += line
        limit = Path(f"/proc/{process.pid}/limits").read_text()
        process.terminate()
        output += process.stdout.read()
        process.wait(10)
        process.stdout.close()
        assert f"Max open files            {hard}" in limit
        return output.decode()

    assert "ulimit -n" in limits(128, 512)
    assert "ulimit -n" not in limits(256, 8192)


def test_out_of_descriptors_is_a_line_in_the_log_and_passes(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[pipelines]\nmessage = ["echo"]\n')
    with subprocess.Popen(
        [sys.executable, "-m", "fws", "run", "a.toml", "--listen", "127.0.0.1:0"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40)),
    ) as process:
        assert process.stdout is not None
        port = 0
        for line in process.stdout:
            if "connect " in line:
                port = int(line.rstrip().rstrip("/").rpartition(":")[2])
                break
        with contextlib.ExitStack() as stack:
            for _ in range(60):
                stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            time.sleep(0.5)
        time.sleep(0.5)
        with connect(f"ws://127.0.0.1:{port}/") as client:
            client.send("again")
            assert client.recv(timeout=5) == "again"
        process.terminate()
        output = process.stdout.read()
        assert process.wait(10) == 0
    assert "cannot accept connections" in output
    assert "Traceback" not in output


def test_a_log_that_nobody_reads_does_not_stop_the_server(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[pipelines]\nmessage = ["log {client.id}", "echo"]\n')
    with subprocess.Popen(
        [sys.executable, "-m", "fws", "run", "a.toml", "--listen", "127.0.0.1:0"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        port = 0
        for line in process.stdout:
            if "connect " in line:
                port = int(line.rstrip().rstrip("/").rpartition(":")[2])
                break
        with connect(f"ws://127.0.0.1:{port}/") as client:
            for number in range(1000):
                client.send(f"{number}" * 20)
                assert client.recv(timeout=5) == f"{number}" * 20
        process.terminate()
        assert process.wait(10) == 0


def test_a_full_disk_under_the_banner_does_not_stop_the_server(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[pipelines]\nmessage = ["echo"]\n')
    with (
        Path("/dev/full").open("w") as full,
        subprocess.Popen(
            [sys.executable, "-m", "fws", "run", "a.toml", "--listen", f"unix:{tmp_path}/fws.sock"],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stderr is not None
        assert "standard output cannot be written" in process.stderr.readline()
        with unix_connect(f"{tmp_path}/fws.sock", "ws://localhost/") as client:
            client.send("served")
            assert client.recv(timeout=5) == "served"
        process.terminate()
        assert "Traceback" not in process.stderr.read()
        assert process.wait(10) == 0


def test_a_project_elsewhere_with_filters_of_its_own(serve: Serve) -> None:
    shout = '''
from typing import Annotated
from fws import Filter, Help


class Shout(Filter):
    """Upper-case every text message and mark the end of it."""

    mark: Annotated[str, Help("Text appended to each message.")] = "!"

    def message(self, client, message):
        return message.upper() + self.mark
'''
    server = serve('[pipelines]\nmessage = ["shout mark=?!", "echo"]\n', pipelines={"shout": shout})
    with connect(server.url()) as client:
        client.send("hello")
        assert client.recv() == "HELLO?!"


def test_a_filter_that_fails_to_start_is_reported_in_a_sentence(serve: Serve) -> None:
    bad = """
from fws import Filter


class Bad(Filter):
    def start(self):
        raise LookupError("no such sensor")

    def message(self, client, message): ...
"""
    server = serve('[pipelines]\nmessage = ["bad"]\n', pipelines={"bad": bad}, ready=False)
    assert server.process.wait(10) == 1
    assert "no such sensor" in server.wait_for("pipelines.bad.Bad.start .* failed to start.*")[0]
    assert "Traceback" not in server.output


def test_json_log_lines(serve: Serve) -> None:
    import json

    server = serve(CHATTY, "--log-format", "json", ready=False)
    line = server.wait_for(r"\{.*listening on.*\}")[0]
    port = int(json.loads(line)["message"].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as sock:
        Raw(sock).send(TEXT, b"x")
    gone = json.loads(server.wait_for(r"\{.*gone.*\}")[0])
    assert gone["level"] == "info"


LOGS = """
import logging, warnings
from fws import Filter

logger = logging.getLogger(__name__)

class Logs(Filter):
    def message(self, client, message):
        logger.info("it says %s", message)
        logger.debug("nobody asked")
        logging.getLogger("a.library").warning("be careful")
        warnings.warn("use another one", UserWarning)
"""


@pytest.mark.parametrize("style", ["text", "json"])
def test_lines_of_filters_and_libraries_are_in_the_log(style: str, serve: Serve) -> None:
    """Fault: a filter's own logger was silent, and warnings were plain lines between those of JSON."""
    toml = '[pipelines]\nmessage = ["logs"]'
    server = serve(toml, "--log-format", style, pipelines={"logs": LOGS}, ready=False)
    server.port = int(server.wait_for(r"(?:listening on|connect) +\S+:(\d+)")[1])
    with connect(server.url()) as client:
        client.send("hello")
        server.wait_for("use another one")
    lines = server.lines[-3:]
    if style == "text":
        assert [line[9:] for line in lines] == [
            "info    pipelines.logs: it says hello",
            "warning a.library: be careful",
            "warning UserWarning: use another one (logs.py:12)",
        ]
    else:
        assert [(line["level"], line["logger"], line["message"]) for line in map(json.loads, lines)] == [
            ("info", "pipelines.logs", "it says hello"),
            ("warning", "a.library", "be careful"),
            ("warning", "py.warnings", "UserWarning: use another one (logs.py:12)"),
        ]
    assert "nobody asked" not in server.output


COMPUTES = """
from gevent.monkey import get_original
from fws import Filter

sleep = get_original("time", "sleep")

class Computes(Filter):
    def message(self, client, message):
        if message == "for ever":
            self.offload(sleep, 3600)
        return f"{message} {self.offload(sum, [1, 2, 3])}"
"""


def test_a_computation_holds_nobody_else_up_and_no_drain(serve: Serve) -> None:
    """Fault: a filter that computes delayed everybody, and a pool of processes made the server hang for good."""
    toml = '[server]\ndrain = "4s"\n[pipelines]\nmessage = ["computes", "echo"]'
    server = serve(toml, pipelines={"computes": COMPUTES})
    with connect(server.url()) as stuck, connect(server.url()) as other:
        stuck.send("for ever")
        for _ in range(5):
            begin = time.monotonic()
            other.send("six is")
            assert other.recv(timeout=10) == "six is 6"
            assert time.monotonic() - begin < 1
        begin = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begin < 8
    assert "Traceback" not in server.output
