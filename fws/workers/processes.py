"""Worker processes: how a supervisor starts them, and what it can ask and tell them.

A worker is started as a fresh process with the supervisor's own command line, not forked: it shares no loop, no
thread, no connection and no half-made state with anyone, and after a change of the file or of a filter the next worker
has the new ones. What it does share, it is handed: the listening socket, which stays open, with those who wait in it,
whichever worker dies, and the board.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import msgspec
from gevent.event import Event

from fws.workers.heartbeat import ANSWER, ASK, VARIABLE, Place
from fws.workers.scoreboard import Board
from fws.workers.supervisor import Supervisor

logger = logging.getLogger("fws")

# Seconds between two looks at the workers.
TICK = 0.1
# Bytes kept of what a worker reports; a stack has some hundred a frame.
MAX_REPORT = 16 * 1024
# Frames that are named of a stack.
TRAIL = 5
_FRAME = re.compile(r'File "(?:[^"]*/)?([^"/]*)", line (\d+) in (\S+)')


class Launcher:
    """Starts workers that share one listening socket.

    Args:
        listener: the socket.
        count: how many workers there are to be.
    """

    def __init__(self, listener: Any, count: int) -> None:
        self._listener = listener
        # More than there can be workers, with those that are renewed.
        self._rows = list(range(2 * count + 1))
        self._board_file = _memory()
        self._board = Board(self._board_file, len(self._rows))
        for row in self._rows:
            self._board.clear(row)
        # Nobody writes to it. Its end is the supervisor's.
        self._life, self._alive = os.pipe()

    def launch(self, number: int) -> Running:
        """Start the worker with this number."""
        row = self._rows.pop()
        report, told = os.pipe()
        os.set_blocking(report, False)
        handed = (self._listener.fileno(), self._board_file, told, self._life)
        place = Place(number, row, self._board.rows, *handed)
        # Between these two lines nothing else is started: what is inheritable here goes to this worker alone.
        for descriptor in handed:
            os.set_inheritable(descriptor, True)
        try:
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, *sys.orig_argv[1:]],
                os.environ | {VARIABLE: msgspec.json.encode(place).decode()},
                file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
                # A group of its own: Ctrl-C at a terminal is for the supervisor, who then tells the workers.
                setpgroup=0,
            )
        finally:
            for descriptor in handed:
                os.set_inheritable(descriptor, False)
            os.close(told)
        return Running(pid, report, self._board, row, self._rows.append)

    def unlisten(self) -> None:
        """Close the supervisor's own listening socket: when the workers have closed theirs, nobody is accepted."""
        self._listener.close()


def _memory() -> int:
    """The descriptor of a file that is no more than memory; where there is no such thing, of one without a name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("fws-board")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class Running:
    """A worker process, see `fws.workers.supervisor.Process`."""

    def __init__(self, pid: int, report: int, board: Board, row: int, give_back: Callable[[int], None]) -> None:
        self.pid = pid
        self._report = report
        self._board = board
        self._row = row
        self._give_back = give_back
        self._text = b""

    def status(self) -> int | None:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def heard(self) -> float:
        return self._board.heard(self._row)

    def serves(self) -> bool:
        return self._board.serves(self._row)

    def ask(self) -> None:
        self._text = b""
        self.send(ASK)

    def where(self) -> str:
        self._read()
        found = re.search(re.escape(ANSWER) + rb"(.*)\n", self._text)
        return found[1].decode("utf-8", "replace") if found else ""

    def stack(self) -> str:
        if self._is_stopped():
            return "it is stopped, as by SIGSTOP"
        self._read()
        return trail_of(self._text.decode("utf-8", "replace"))

    def send(self, number: int) -> None:
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def close(self) -> None:
        os.close(self._report)
        self._board.clear(self._row)
        self._give_back(self._row)

    def _read(self) -> None:
        try:
            while len(self._text) < MAX_REPORT and (data := os.read(self._report, MAX_REPORT)):
                self._text += data
        except BlockingIOError:
            pass

    def _is_stopped(self) -> bool:
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].startswith(("T", "t"))
        except OSError:
            return False


def trail_of(dump: str) -> str:
    """The way to the innermost frame of a stack as `faulthandler` writes it, which is the innermost first."""
    frames = [f"{file}:{line} {function}" for file, line, function in _FRAME.findall(dump)]
    return " > ".join(reversed(frames[:TRAIL]))


def supervise(listener: Any, count: int, drain: float, serving: Callable[[], None]) -> int:
    """Keep `count` workers on one listening socket, until a signal. The exit status.

    SIGTERM and SIGINT let them drain, a second one ends at once; SIGUSR2 renews them one by one; SIGHUP is passed on.
    """
    launcher = Launcher(listener, count)
    supervisor = Supervisor(
        count, launcher.launch, drain=drain, clock=time.monotonic, serving=serving, unlisten=launcher.unlisten
    )
    woken = Event()

    def heed(number: int, act: Callable[[], None]) -> None:
        gevent.signal_handler(number, act)
        gevent.signal_handler(number, woken.set)

    heed(signal.SIGTERM, supervisor.stop)
    heed(signal.SIGINT, supervisor.stop)
    heed(signal.SIGHUP, supervisor.hang_up)
    heed(signal.SIGUSR2, supervisor.renew)
    while supervisor.exit_status is None:
        supervisor.tick()
        woken.wait(TICK)
        woken.clear()
    return supervisor.exit_status
