"""The command `fws` as a process, with pipes or with a terminal."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

from click.testing import CliRunner

from fws.cli import main

ROOT = Path(__file__).resolve().parent.parent.parent
# Makes the terminal on standard input the controlling one, so that Ctrl-C is a signal, and becomes the command.
LEADER = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def environment(**extra: str) -> dict[str, str]:
    """Our environment without its port, colours and terminal size, and with the package importable from any folder."""
    unset = ("PORT", "FWS_LISTEN", "NO_COLOR", "COLUMNS", "LINES")
    inherited = {name: value for name, value in os.environ.items() if name not in unset}
    return inherited | {"PYTHONPATH": str(ROOT), "TERM": "xterm", **extra}


def fws(
    *arguments: str | Path, cwd: Path | None = None, stdin: str | bytes = "", **extra: str
) -> subprocess.CompletedProcess[str]:
    """Run `fws` with these arguments in a folder; both outputs are pipes."""
    data = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(
        [sys.executable, "-m", "fws", *map(str, arguments)],
        cwd=cwd,
        input=data,
        capture_output=True,
        timeout=30,
        env=environment(**extra),
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def fws_here(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The same inside this process in a tenth of the time, for tests that need neither a process nor a project."""
    done = CliRunner().invoke(main, list(map(str, arguments)))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)


class Terminal:
    """`fws` with a terminal for input, output and Ctrl-C."""

    def __init__(self, *arguments: str, cwd: Path | None = None, columns: int = 80, rows: int = 24) -> None:
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-c", LEADER, "-m", "fws", *arguments],
            cwd=cwd,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env=environment(),
        )
        os.close(slave)
        self.screen = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def until(self, text: str, timeout: float = 15) -> str:
        """The output so far, as soon as it contains `text`."""
        deadline = time.monotonic() + timeout
        while text not in self.screen:
            assert self._read(deadline - time.monotonic()), f"{text!r} is not in {self.screen!r}"
        return self.screen

    def end(self, timeout: float = 15) -> int:
        """Read to the end. Returns the exit status."""
        deadline = time.monotonic() + timeout
        while self._read(deadline - time.monotonic()):
            pass
        return self._process.wait(max(0.1, deadline - time.monotonic()))

    def _read(self, timeout: float) -> bool:
        if not select.select([self._master], [], [], max(0, timeout))[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: nobody has the other side open any more
            return False
        self.screen += data.decode("utf-8", "replace")
        return bool(data)
