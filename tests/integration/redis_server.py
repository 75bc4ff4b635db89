"""A private Redis on a free port, and ways to disturb it."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import redis

# Ports below the range from which the kernel takes those of outgoing connections. Each process that runs tests in
# parallel has a thousand to itself, so that no other can take one between the check and its use.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_ports = itertools.cycle(range(20_000 + 1_000 * _WORKER, 21_000 + 1_000 * _WORKER))


def free_port() -> int:
    """A free port of the loopback interface."""
    for port in _ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("an endless cycle has an end")


class RedisServer:
    """A `redis-server` process, which is ended by its pid."""

    def __init__(self, folder: Path, *options: str, start: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.tls_port = 0  # set by a test whose options open one
        self.options = options
        self.password: str | None = None
        self.process: subprocess.Popen[bytes] | None = None
        if start:
            self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *options: str, wait: bool = True) -> None:
        self.process = subprocess.Popen(
            self.command(*options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if wait:
            self.wait()

    def command(self, *options: str) -> list[str]:
        """The command that starts it."""
        place = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""]
        return ["redis-server", *place, "--enable-debug-command", "yes", *self.options, *options]

    def wait(self) -> None:
        until = time.monotonic() + 10
        while True:
            try:
                self.say("PING")
                return
            except redis.RedisError:
                assert time.monotonic() < until, "redis-server does not answer"
                time.sleep(0.02)

    def client(self, **options: Any) -> redis.Redis:
        defaults = {"password": self.password, "socket_timeout": 10, "protocol": 2}
        return redis.Redis(port=self.port, **(defaults | options))

    def say(self, *words: Any) -> Any:
        """Run one command over a new connection."""
        with self.client() as client:
            return client.execute_command(*words)

    def signal(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)
