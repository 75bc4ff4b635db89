"""One server process, pinned to processor 0, and the load generator, pinned to processor 1."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from servers import BUILD, HERE, NODE_MODULES, Server

SERVER_PROCESSOR, LOAD_PROCESSOR = "0", "1"
LONGEST_START = 20.0  # seconds
LONGEST_LOAD = 60.0  # seconds that a run of the load generator may take in addition to its measurement


class Failed(Exception):
    """A server did not start, or a measurement had no result."""


def pinned(processor: str, command: list[str]) -> list[str]:
    """The command, pinned to one processor. It is killed when this process ends, however that happens."""
    return ["taskset", "-c", processor, "setpriv", "--pdeathsig", "KILL", *command]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Running:
    """A server that runs inside a `with` block: started at its beginning and killed at its end."""

    def __init__(self, server: Server, compressed: bool = False, tls: bool = False) -> None:
        self.server = server
        self.compressed = compressed
        self.tls = tls
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Running:
        command = self.server.argv(self.port, compressed=self.compressed, tls=self.tls)
        if self.server.name == "nchan":
            folder = self._nginx_folder()
            command = [word.replace("{folder}", str(folder)) for word in command]
        # The output of the last run is kept, to find out why a server failed.
        with (BUILD / f"{self.server.name}.log").open("wb") as log:
            self._process = subprocess.Popen(
                pinned(SERVER_PROCESSOR, command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for this process, which then ends the server
                cwd=HERE.parent,
                env={**os.environ, "NODE_PATH": str(NODE_MODULES)},
            )
        try:
            self._wait_for_port()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _nginx_folder(self) -> Path:
        folder = BUILD / "nchan"
        folder.mkdir(exist_ok=True)
        text = (HERE / "peers" / "nchan.conf.in").read_text()
        (folder / "nginx.conf").write_text(text.replace("@DIR@", str(folder)).replace("@PORT@", str(self.port)))
        return folder

    def _wait_for_port(self) -> None:
        end = time.monotonic() + LONGEST_START
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except OSError:
                if time.monotonic() > end or self._popen.poll() is not None:
                    raise Failed(f"{self.server.name} did not start, see build/bench/{self.server.name}.log") from None
                time.sleep(0.02)
        time.sleep(0.1)

    @property
    def _popen(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def stop(self) -> None:
        self._popen.kill()
        self._popen.wait()

    def cpu(self) -> float:
        """Seconds of processor time that all threads of the server have used."""
        threads = Path(f"/proc/{self._popen.pid}/task").iterdir()
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9

    def resident(self) -> float:
        """Resident memory of the server in KiB."""
        for line in Path(f"/proc/{self._popen.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return float(line.split()[1])
        raise Failed(f"{self.server.name} has ended")

    def load_command(self, arguments: tuple[str, ...], path: str) -> list[str]:
        return pinned(
            LOAD_PROCESSOR,
            [
                str(BUILD / "wsload"),
                *arguments,
                *(("--deflate",) if self.compressed else ()),
                *(("--tls",) if self.tls else ()),
                *self.server.load,
                *("--port", str(self.port), "--path", self.server.path(path, self.compressed)),
                *("--server-pid", str(self._popen.pid), "--max-time", str(LONGEST_LOAD)),
            ],
        )

    def load(self, arguments: tuple[str, ...], path: str, seconds: float) -> dict[str, Any]:
        """Run the load generator once, and return its report: see wsload.c."""
        command = self.load_command((*arguments, "--time", f"{seconds:g}"), path)
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_LOAD + seconds)
        except subprocess.TimeoutExpired:
            raise Failed("the load generator took too long") from None
        return found(done.stdout, done.stderr)


def found(output: str, errors: str) -> dict[str, Any]:
    """The report of the load generator, which is the last line of its output, as JSON."""
    lines = output.splitlines() or [""]
    try:
        result: dict[str, Any] = json.loads(lines[-1])
    except ValueError:
        raise Failed((errors.strip().splitlines() or ["the load generator printed nothing"])[-1]) from None
    if "error" in result:
        raise Failed(result["error"])
    return result
