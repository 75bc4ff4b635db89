"""Real servers: `serve` starts `fws run` as a process on a free port and ends it by its pid."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.certificates import Authority, threaded_context

ROOT = Path(__file__).parents[2]


class Running:
    """A server process. `output` grows as it prints.

    With a `tls` context its clients use TLS, and with `threaded_tls` the clients that have two threads.
    """

    def __init__(
        self,
        arguments: list[str],
        folder: Path,
        environ: dict[str, str],
        program: tuple[str, ...] = ("-m", "fws"),
        tls: ssl.SSLContext | None = None,
        threaded_tls: ssl.SSLContext | None = None,
        inside: tuple[str, ...] = (),
        close_fds: bool = True,
    ) -> None:
        self.tls = tls
        self.threaded_tls = threaded_tls
        unset = ("PORT", "FWS_LISTEN", "REDIS_URL", "WEB_CONCURRENCY")
        environment = {key: value for key, value in os.environ.items() if key not in unset}
        self.process = subprocess.Popen(
            [*inside, sys.executable, *program, *arguments],
            cwd=folder,
            env=environment | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            close_fds=close_fds,
        )
        self.lines: list[str] = []
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = 0

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._more:
                self.lines.append(line.rstrip("\n"))
                self._more.notify_all()

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, pattern: str, timeout: float = 15) -> re.Match[str]:
        """Wait for a match in the output and return it."""
        until = time.monotonic() + timeout
        with self._more:
            while True:
                match = re.search(pattern, self.output)
                if match:
                    return match
                left = until - time.monotonic()
                if left <= 0 or (self.process.poll() is not None and not self._reader.is_alive()):
                    raise AssertionError(f"{pattern!r} is not in the output:\n{self.output}")
                self._more.wait(min(left, 0.1))

    def ready(self) -> Running:
        self.port = int(self.wait_for(r"(?:open|connect) +\w+://\S+:(\d+)/")[1])
        self.wait_for(r"(?m)^$")
        return self

    def url(self, path: str = "/") -> str:
        return f"{'ws' if self.tls is None else 'wss'}://127.0.0.1:{self.port}{path}"

    @property
    def page(self) -> str:
        """The address of its pages, without the slash."""
        return f"{'http' if self.tls is None else 'https'}://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        """A raw socket, with TLS if the server uses it."""
        raw = self.connect_tcp()
        return raw if self.tls is None else self.tls.wrap_socket(raw, server_hostname="localhost")

    def connect_tcp(self) -> socket.socket:
        """A raw socket without TLS."""
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return raw

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self._reader.join(10)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def stop(self, timeout: float = 20) -> int:
        """Send SIGTERM. Returns the exit status."""
        self.signal(signal.SIGTERM)
        status = self.process.wait(timeout)
        self._reader.join(10)
        return status


Serve = Callable[..., Running]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def tls(request: pytest.FixtureRequest) -> bool:
    """Whether the servers of a test use TLS. A module for both parametrizes it."""
    return bool(getattr(request, "param", False))


@contextlib.contextmanager
def launcher(folder: Path, authority: Authority | None) -> Iterator[Serve]:
    """`serve` for a folder, with TLS if there is an authority. Started servers are ended."""
    servers = []
    secure: list[str] = []
    context = threaded = None
    if authority is not None:
        cert, key = authority.sign()
        secure = ["--cert", str(cert), "--key", str(key)]
        context = ssl.create_default_context(cafile=authority.file)
        threaded = threaded_context(authority.file)

    def start(
        toml: str | Path,
        *arguments: str,
        pipelines: dict[str, str] | None = None,
        listen: str | None = "127.0.0.1:0",
        ready: bool = True,
        program: tuple[str, ...] = ("-m", "fws"),
        inside: tuple[str, ...] = (),
        **environ: str,
    ) -> Running:
        if isinstance(toml, Path):
            conf = toml
        else:
            (folder / "conf").mkdir(exist_ok=True)
            conf = folder / "conf" / "test.toml"
            conf.write_text(toml)
            for name, source in (pipelines or {}).items():
                (folder / "pipelines").mkdir(exist_ok=True)
                (folder / "pipelines" / f"{name}.py").write_text(source)
        address = [] if listen is None else ["--listen", listen]
        words = ["run", str(conf), *address, *secure, *arguments]
        running = Running(words, folder, environ, program, context, threaded, inside)
        servers.append(running)
        return running.ready() if ready else running

    try:
        yield start
    finally:
        for running in servers:
            running.end()


@pytest.fixture
def serve(tmp_path: Path, tls: bool, authority: Authority) -> Iterator[Serve]:
    """`serve(toml, *arguments, pipelines={"name": source}, **environ)` gives a running server.

    `inside` is a command that runs the server's command, such as in another network namespace.
    """
    with launcher(tmp_path, authority if tls else None) as start:
        yield start
