"""The units: systemd finds no fault in them, and the service restarts behind its socket without refusing anybody."""

from __future__ import annotations

import configparser
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fws.config import Server
from tests.cli.command import environment
from tests.integration.conftest import ROOT, Running
from tests.integration.redis_server import RedisServer, free_port
from tests.ops.login import JWT_KEY, client_of, token_of

UNITS = ROOT / "ops" / "systemd"
CONF = ROOT / "ops" / "conf" / "fws.toml"
# Becomes the command of the service, with the socket as systemd passes it.
ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.set_inheritable(3, True)
os.environ["LISTEN_PID"], os.environ["LISTEN_FDS"] = str(os.getpid()), "1"
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


def section_of(name: str, section: str) -> configparser.SectionProxy:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string((UNITS / name).read_text())
    return unit[section]


def test_systemd_finds_no_fault(tmp_path: Path) -> None:
    for file in UNITS.iterdir():
        shutil.copy(file, tmp_path)
    # Only the program is not where the unit expects it.
    service = tmp_path / "fws.service"
    service.write_text(service.read_text().replace("/srv/fws/.venv/bin/fws", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(service), str(tmp_path / "fws.socket")], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_sandbox_is_tight() -> None:
    """systemd's own measure goes from 0 to 10. A service without a sandbox has 9.6."""
    offline = [
        "systemd-analyze",
        "security",
        "--no-pager",
        "--offline=true",
        "--threshold=20",
        str(UNITS / "fws.service"),
    ]
    done = subprocess.run(offline, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_service_ends_as_fws_wants_it() -> None:
    service = section_of("fws.service", "Service")
    assert int(service["TimeoutStopSec"]) > Server().drain
    # The supervisor alone gets SIGTERM, and what is left in the end goes with it.
    assert service["KillMode"] == "mixed"
    assert service["RestartPreventExitStatus"] == "78"
    assert service["RuntimeDirectory"] == "fws"
    assert section_of("fws.socket", "Socket")["Accept"] == "no"


class Service:
    """The service as systemd starts it, with a socket that outlives it."""

    def __init__(self, folder: Path, redis: RedisServer) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.listener.getsockname()[1]
        self._folder = folder
        self._run = folder / "run"
        self._run.mkdir()
        self.environ = {
            "REDIS_URL": redis.url,
            "JWT_KEY": JWT_KEY,
            "FWS_ADMIN": f"127.0.0.1:{free_port()}",
            "RUNTIME_DIRECTORY": str(self._run),
        }

    def command(self, name: str) -> list[str]:
        """The words of ExecStart or ExecReload, for this machine."""
        word, *words = shlex.split(section_of("fws.service", "Service")[name])
        assert Path(word).name == "fws"
        return ["-m", "fws", *(word.replace("/etc/fws/fws.toml", str(CONF)) for word in words)]

    def start(self) -> Running:
        os.set_inheritable(self.listener.fileno(), True)
        words = self.command("ExecStart")
        words[words.index("auto")] = "2"
        program = ("-c", ACTIVATE, str(self.listener.fileno()), *words)
        running = Running([], self._folder, self.environ, program, close_fds=False)
        running.wait_for(r"connect +ws://")
        return running


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    redis = RedisServer(tmp_path / "redis")
    service = Service(tmp_path, redis)
    yield service
    service.listener.close()
    redis.kill()


def test_a_restart_behind_the_socket_refuses_nobody(service: Service) -> None:
    first = service.start()
    second = None
    refused: list[Exception] = []
    served = 0
    stop = threading.Event()
    token = token_of("ann")

    def come_and_go() -> None:
        nonlocal served
        while not stop.is_set():
            try:
                with client_of(service.port, token):
                    served += 1
            except Exception as error:
                refused.append(error)
            time.sleep(0.02)

    try:
        reload = [sys.executable, *service.command("ExecReload")]
        done = subprocess.run(
            reload, cwd=ROOT, env=environment(**service.environ), capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, "nothing has changed" in done.stdout) == (0, True), done.stderr
        visitor = threading.Thread(target=come_and_go)
        visitor.start()
        with client_of(service.port, token):
            until = time.monotonic() + 10
            while served < 5 and not refused and time.monotonic() < until:
                time.sleep(0.02)
            first.signal(signal.SIGTERM)
            # The first accepts no more, and ends; what comes now waits in the socket.
            assert first.process.wait(30) == 0
        before = served
        second = service.start()
        until = time.monotonic() + 20
        while served < before + 5 and time.monotonic() < until:
            time.sleep(0.02)
        stop.set()
        visitor.join(30)
        assert refused == []
        assert served >= before + 5
        assert second.stop() == 0
    finally:
        stop.set()
        first.end()
        if second is not None:
            second.end()


def test_a_connection_starts_the_service(service: Service) -> None:
    """With the program of systemd that listens and starts the service when somebody connects."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = service.command("ExecStart")
    words[words.index("auto")] = "1"
    passed = [f"-E{name}={value}" for name, value in {**service.environ, "PYTHONPATH": str(ROOT)}.items()]
    process = subprocess.Popen(
        ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", *passed, sys.executable, *words],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        assert b"Listening" in process.stderr.readline()
        with client_of(port, token_of("ann")) as client:
            client.send("hello")
            assert client.recv(timeout=10) == "hello"
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
