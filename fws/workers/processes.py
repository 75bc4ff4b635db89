"""Worker processes: how the supervisor starts them and communicates with them.

A worker is not forked. It is a fresh process with the supervisor's own command line, so that it shares no event loop,
thread, connection or partial state with another process, and a worker that starts after a change of the TOML file or of
a filter uses the new version. It inherits the listening socket, which keeps waiting connections if a worker dies, and
the scoreboard.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gevent
import msgspec
from gevent import get_hub
from gevent.event import Event

from fws.workers.heartbeat import ANSWER, ASK, VARIABLE, Inheritance
from fws.workers.scoreboard import Row, Scoreboard
from fws.workers.supervisor import Process, Supervisor

logger = logging.getLogger("fws")

# Seconds between two looks at the workers.
TICK = 0.1
# The most bytes of a worker's report. A stack has about a hundred for each frame.
MAX_REPORT = 16 * 1024
# The innermost frames of a stack that are logged.
TRAIL = 5
_FRAME = re.compile(r'File "(?:[^"]*/)?([^"/]*)", line (\d+) in (\S+)')


class Launcher:
    """Starts workers that share one listening socket.

    Args:
        listener: the socket.
        count: the number of workers.
        control: the folder for the control sockets of workers; empty for none.
        admin: the listening socket of [admin]; None without one.
        fixed: the settings with which the sockets were opened, by name.
        predecessor: returns the control socket of the process that the next worker takes over from; empty for none.
        generation: returns the number that the generation of the next worker has.
    """

    def __init__(
        self,
        listener: Any,
        count: int,
        control: str = "",
        admin: Any = None,
        fixed: Mapping[str, str] = MappingProxyType({}),
        predecessor: Callable[[], str] = str,
        generation: Callable[[], int] = lambda: 1,
    ) -> None:
        self._listener = listener
        self._admin = admin
        self._control = control
        self._fixed = dict(fixed)
        self._predecessor = predecessor
        self._generation = generation
        # From now on the loop reaps all children of the process, as it does when a filter has started a program.
        get_hub().loop.install_sigchld()
        # While workers are renewed, there are more of them than `count`.
        self._rows = list(range(2 * count + 1))
        self._memory = _memory()
        self._scoreboard = Scoreboard(self._memory, len(self._rows))
        for row in self._rows:
            self._scoreboard.clear(row)
        # Nobody writes to this pipe. It ends when the supervisor ends.
        self._life, self._alive = os.pipe()

    def launch(self, number: int) -> Running:
        """Start the worker with this number. Raises OSError."""
        report, writer = os.pipe()
        row = self._rows[-1]
        os.set_blocking(report, False)
        handed = (self._listener.fileno(), self._memory, writer, self._life)
        admin = None if self._admin is None else self._admin.fileno()
        more = (self._control, admin, self._fixed, self._predecessor())
        generation = self._generation()
        inherited = Inheritance(number, row, self._scoreboard.rows, *handed, *more, generation=generation)
        descriptors = [*handed, *([] if admin is None else [admin])]
        # No other process is started before they are made uninheritable again, so that only this worker inherits them.
        for descriptor in descriptors:
            os.set_inheritable(descriptor, True)
        try:
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, *sys.orig_argv[1:]],
                os.environ | {VARIABLE: msgspec.json.encode(inherited).decode()},
                file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
                # A process group of its own, so that Ctrl-C reaches the supervisor only, which then drains the workers.
                setpgroup=0,
            )
        except OSError:
            os.close(report)
            raise
        finally:
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
            os.close(writer)
        self._rows.pop()
        return Running(pid, report, self._scoreboard, row, self._rows.append)

    def seat(self) -> Row:
        """A row for a process that serves already."""
        return Row(self._scoreboard, self._rows.pop())

    def free(self, row: Row) -> None:
        """No process has this row any more."""
        row.clear()
        self._rows.append(row.number)

    def unlisten(self) -> None:
        """Close the supervisor's listening sockets. When the workers have closed theirs, connections are refused."""
        self._listener.close()
        if self._admin is not None:
            self._admin.close()


def _memory() -> int:
    """The descriptor of a file in memory, or of a file without a name on systems that lack `memfd_create`."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("fws-scoreboard")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class Running:
    """A running worker. Implements `fws.workers.supervisor.Process`."""

    def __init__(self, pid: int, report: int, scoreboard: Scoreboard, row: int, free: Callable[[int], None]) -> None:
        self.pid = pid
        self._report = report
        self._scoreboard = scoreboard
        self._row = row
        self._free = free
        self._text = b""
        self._status: int | None = None
        self._watcher = get_hub().loop.child(pid)
        self._watcher.start(self._ended)

    def __str__(self) -> str:
        return f"pid {self.pid}"

    def _ended(self) -> None:
        self._status = os.waitstatus_to_exitcode(self._watcher.rstatus)
        self._watcher.stop()

    def status(self) -> int | None:
        return self._status

    def heard(self) -> float:
        return self._scoreboard.heard(self._row)

    def serves(self) -> bool:
        return self._scoreboard.serves(self._row)

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
        self._watcher.close()
        os.close(self._report)
        self._scoreboard.clear(self._row)
        self._free(self._row)

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
    """The calls that lead to the innermost frame of a stack, which `faulthandler` writes innermost first."""
    frames = [f"{file}:{line} {function}" for file, line, function in _FRAME.findall(dump)]
    return " > ".join(reversed(frames[:TRAIL]))


class Supervision:
    """Keeps workers running on one listening socket until a signal.

    Args:
        listener: the socket.
        count: the number of workers.
        drain: seconds that a worker may take to drain.
        serving: called once, when the first worker serves.
        hung_up: called for SIGHUP.
        control: the folder for the control sockets of workers; empty for none.
        admin: the listening socket of [admin]; None without one.
        fixed: the settings with which the sockets were opened, by name.
        present: a process that serves already, as the first worker; None if all workers have to be started.
        predecessor: returns the control socket of the process that the next worker takes over from; empty for none.
        generation: returns the number that the generation of the next worker has.
        begun: called for each worker that begins to serve, with the monotonic time at which it was started.
    """

    def __init__(
        self,
        listener: Any,
        count: int,
        drain: float,
        serving: Callable[[], None],
        *,
        hung_up: Callable[[], object] = lambda: None,
        control: str = "",
        admin: Any = None,
        fixed: Mapping[str, str] = MappingProxyType({}),
        present: Process | None = None,
        predecessor: Callable[[], str] = str,
        generation: Callable[[], int] = lambda: 1,
        begun: Callable[[float], object] = lambda since: None,
    ) -> None:
        launcher = self._launcher = Launcher(listener, count, control, admin, fixed, predecessor, generation)
        self._hung_up = hung_up
        self._supervisor = Supervisor(
            count,
            launcher.launch,
            drain=drain,
            clock=time.monotonic,
            serving=serving,
            unlisten=launcher.unlisten,
            present=present,
            begun=begun,
        )
        self._woken = Event()

    def serving(self) -> list[int]:
        """The process ids of the workers that serve."""
        return self._supervisor.serving()

    def seat(self) -> Row:
        """A row of the scoreboard for `present`."""
        return self._launcher.seat()

    def free(self, row: Row) -> None:
        """`present` has ended."""
        self._launcher.free(row)

    def renew(self) -> None:
        """Replace the workers, as at SIGUSR2."""
        self._supervisor.renew()

    def heed_signals(self) -> None:
        """Handle signals from now on.

        SIGTERM and SIGINT drain the workers, and a second one ends them at once. SIGUSR2 renews them one by one.
        """
        supervisor, woken = self._supervisor, self._woken

        def heed(number: int, act: Callable[[], object]) -> None:
            gevent.signal_handler(number, act)
            gevent.signal_handler(number, woken.set)

        heed(signal.SIGTERM, supervisor.stop)
        heed(signal.SIGINT, supervisor.stop)
        heed(signal.SIGHUP, self._hung_up)
        heed(signal.SIGUSR2, supervisor.renew)

    def run(self) -> int:
        """Work until a signal. Returns the exit status."""
        supervisor = self._supervisor
        while supervisor.exit_status is None:
            supervisor.tick()
            self._woken.wait(TICK)
            self._woken.clear()
        return supervisor.exit_status
