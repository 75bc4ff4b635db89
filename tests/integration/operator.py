"""A running server as its operator sees it: its file, its control socket, and the commands that use it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
from websockets.sync.client import ClientConnection, connect

from tests.cli.command import environment
from tests.integration.conftest import Running


class Operator:
    """Edits the file of a server, and calls commands on it."""

    def __init__(self, server: Running, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.conf = folder / "conf" / "test.toml"
        self._clients = contextlib.ExitStack()
        self.socket = server.wait_for(r"control +(\S+)")[1]

    def close(self) -> None:
        """Disconnect all clients."""
        self._clients.close()

    def edit(self, toml: str) -> None:
        # As most editors do it: the server never reads a half of the file.
        new = self.conf.with_suffix(".new")
        new.write_text(toml)
        new.rename(self.conf)

    def module(self, name: str, source: str) -> None:
        new = self.folder / "pipelines" / f"{name}.new"
        new.write_text(source)
        new.rename(new.with_suffix(".py"))

    def fws(self, command: str, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fws", command, "--socket", self.socket, *arguments],
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def begin(self, command: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a command that runs until it is ended."""
        return subprocess.Popen(
            [sys.executable, "-u", "-m", "fws", command, "--socket", self.socket, *arguments],
            cwd=self.folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def reload(self, *arguments: str) -> int:
        """The exit status of `fws reload`."""
        return self.fws("reload", *arguments).returncode

    def json(self, command: str, *arguments: str) -> list[dict[str, Any]]:
        lines = self.fws(command, "--json", *arguments).stdout.splitlines()
        return [msgspec.json.decode(line) for line in lines]

    def client(self, path: str = "/") -> ClientConnection:
        """A client that stays connected until `close`."""
        return self._clients.enter_context(connect(self.server.url(path), proxy=None, ping_interval=None))


def asked(client: ClientConnection, text: str) -> str:
    """Send a message and return the answer."""
    client.send(text)
    return str(client.recv(timeout=10))
