"""One running process: its pipes in the event loop, its bounded input, and its end."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import deque
from collections.abc import Mapping
from time import perf_counter
from typing import Any, Protocol

import msgspec
from gevent import get_hub
from gevent.event import Event

from fws.base.errors import ProgramError
from fws.programs.command import Command
from fws.programs.framing import Framing, Splitter
from fws.programs.spawn import Child, close, spawn
from fws.runtime.scheduler import end_of_turn

CHUNK = 64 * 1024
# Pieces that are read after the end, so that what escapes from its group cannot keep us busy.
LAST_CHUNKS = 16
# After so many bytes of stderr it is not read for `DEAF` seconds: reading all that a program can write would take most
# of a processor. What it writes meanwhile waits in the pipe, which holds as much again, and then the program waits.
MOST_STDERR = 64 * 1024
DEAF = 1.0
# Bytes of a line on stderr that are logged.
MAX_SAID = 1000


class Listener(Protocol):
    """Who uses a process. These are called in the event loop, and must neither block nor raise."""

    def received(self, message: bytes) -> None:
        """It has written a message to stdout."""

    def said(self, line: str) -> None:
        """It has written a line to stderr."""

    def failed(self, error: ProgramError) -> None:
        """It has broken the rules, or cannot answer any more, and is being ended."""

    def ended(self, status: int, rest: bytes) -> None:
        """It is over, once and last of all.

        Args:
            status: the exit status, or the negative number of the signal that killed it.
            rest: what it wrote last without the end of a message.
        """


class Bounds(msgspec.Struct, frozen=True):
    """The limits of a process.

    Attributes:
        most: bytes of the largest message that it may write.
        queue: bytes that may wait to be written to it.
        grace: seconds between SIGTERM and SIGKILL.
    """

    most: int
    queue: int
    grace: float


class Process:
    """A process that is running, or ending.

    Args:
        framing: of its output.

    Attributes:
        pid: also the id of its process group.
        usable: whether it may be written to: it has not failed and is not being ended.
    """

    def __init__(self, child: Child, listener: Listener, framing: Framing, bounds: Bounds) -> None:
        self.pid = child.pid
        self.usable = True
        self._listener = listener
        self._splitter = Splitter(framing, bounds.most)
        self._queue = bounds.queue
        self._grace = bounds.grace
        self._waiting: deque[bytes | memoryview] = deque()
        self._pending = 0
        self._room = Event()
        self._room.set()
        self._said = bytearray()
        # Bytes of stderr that may be read before the next pause, and the timer of the pause.
        self._hears = MOST_STDERR
        self._deaf: Any = None
        self._stdin, self._stdout, self._stderr = child.stdin, child.stdout, child.stderr
        loop = get_hub().loop
        self._writer = loop.io(self._stdin, 2)
        self._reader = loop.io(self._stdout, 1)
        self._errors = loop.io(self._stderr, 1)
        self._child = child.watcher
        self._timer: Any = None
        self._again: Any = None
        self._over = False
        self._status = 0
        self._last = LAST_CHUNKS
        self._reader.start(self._readable)
        self._errors.start(self._complains)
        self._child.start(self._exited)

    # Its input.

    def wait_for_room(self) -> None:
        """Wait until at most `queue` bytes wait to be written, or it is over."""
        if self._pending > self._queue:
            self._room.clear()
            self._room.wait()

    def write(self, data: bytes) -> None:
        """Write as soon as it reads. Never blocks: who writes much calls `wait_for_room` before."""
        if self._stdin < 0:
            return
        rest: bytes | memoryview = data
        if not self._waiting:
            rest = memoryview(data)[self._written(data) :]
        if len(rest) and self._stdin >= 0:
            if not self._waiting:
                self._writer.start(self._writable)
            self._waiting.append(rest)
            self._pending += len(rest)

    def close_input(self) -> None:
        """It reads the end of its input after what was written until now."""
        if self._waiting:
            self._waiting.append(b"")
        else:
            self._close_stdin()

    def _writable(self) -> None:
        while self._waiting:
            piece = self._waiting[0]
            if not piece:
                self._close_stdin()
                return
            written = self._written(piece)
            if self._stdin < 0:
                return
            self._pending -= written
            if written < len(piece):
                self._waiting[0] = memoryview(piece)[written:]
                break
            self._waiting.popleft()
        else:
            self._writer.stop()
        if self._pending <= self._queue:
            self._room.set()

    def _written(self, data: bytes | memoryview) -> int:
        try:
            return os.write(self._stdin, data)
        except BlockingIOError:
            return 0
        except OSError:  # it does not read any more; whether that is an error, its answers and its status will tell
            self._close_stdin()
            return 0

    def _close_stdin(self) -> None:
        if self._stdin >= 0:
            self._writer.stop()
            self._writer.close()
            close(self._stdin)
            self._stdin = -1
        self._waiting.clear()
        self._pending = 0
        self._room.set()

    # Its output.

    def _readable(self) -> None:
        if self._read() and self._stdout < 0 and not self._over:
            # The end of its output. It may still do something before it exits, but not for long.
            self._close_stdin()
            self._give(self._grace, self._is_mute)
        else:
            self._take()

    def _read(self) -> bool:
        """Read once. Returns whether there was anything: output, or its end."""
        try:
            data = os.read(self._stdout, CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if data:
            self._splitter.add(data)
        else:
            self._close_stdout()
        return True

    def _take(self) -> bool:
        """Hand over complete messages. After a turn others come first, and nothing is read meanwhile.

        Returns:
            Whether all were handed over.
        """
        until = end_of_turn()
        try:
            while self._stdout >= 0 and (message := self._splitter.take()) is not None:
                self._listener.received(message)
                if perf_counter() > until and self._stdout >= 0:
                    self._reader.stop()
                    self._again = get_hub().loop.timer(0.0)
                    self._again.start(self._go_on)
                    return False
        except ProgramError as error:
            self.fail(error)
        return True

    def _go_on(self) -> None:
        self._again.close()
        self._again = None
        if self._over:
            self._finish()
        elif self._take() and self._stdout >= 0:
            self._reader.start(self._readable)

    def _close_stdout(self) -> None:
        if self._stdout >= 0:
            self._reader.stop()
            self._reader.close()
            close(self._stdout)
            self._stdout = -1
        # After its end, the timer leads to `_finish`.
        if self._again is not None and not self._over:
            self._again.close()
            self._again = None

    def _complains(self) -> None:
        try:
            data = os.read(self._stderr, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._said += data
        self._tell(end=not data)
        self._hears -= len(data)
        if not data:
            self._close_stderr()
        elif self._hears <= 0 and self._deaf is None:
            self._errors.stop()
            self._deaf = get_hub().loop.timer(DEAF)
            self._deaf.start(self._listen_again)

    def _listen_again(self) -> None:
        self._stop_deafness()
        self._hears = MOST_STDERR
        self._errors.start(self._complains)

    def _stop_deafness(self) -> None:
        if self._deaf is not None:
            self._deaf.close()
            self._deaf = None

    def _tell(self, *, end: bool) -> None:
        """Hand over the lines of stderr. At the end, and if it is long, also the last one without a line feed."""
        *lines, rest = self._said.split(b"\n")
        cut = end or len(rest) > MAX_SAID
        # The log folds what is too much, but looking at each of 65,536 lines would take a while.
        for line in [*lines[:20], *([rest] if cut else [])]:
            if line.strip():
                self._listener.said(line[:MAX_SAID].decode("utf-8", "replace"))
        self._said = bytearray() if cut else rest

    def _close_stderr(self) -> None:
        self._stop_deafness()
        if self._stderr >= 0:
            self._errors.stop()
            self._errors.close()
            close(self._stderr)
            self._stderr = -1

    # Its end.

    def _is_mute(self) -> None:
        self.fail(ProgramError("it has closed its output and goes on"))

    def fail(self, error: ProgramError) -> None:
        """End it because it has broken the rules."""
        if self.usable:
            self.usable = False
            self._close_stdout()
            self._listener.failed(error)
            self.end()

    def end(self) -> None:
        """End its process group: SIGTERM, and after the grace SIGKILL. Does nothing if that has begun."""
        self.usable = False
        self._close_stdin()
        if not self._over:
            self._signal(signal.SIGTERM)
            self._give(self._grace, self.kill)

    def kill(self) -> None:
        """SIGKILL for its process group."""
        self.usable = False
        if not self._over:
            self._signal(signal.SIGKILL)

    def _give(self, seconds: float, then: Any) -> None:
        if self._timer is not None:
            self._timer.close()
        self._timer = get_hub().loop.timer(seconds)
        self._timer.start(then)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _exited(self) -> None:
        """The program has ended. What is left of its group is killed at once, while its id cannot belong to others."""
        self._status = os.waitstatus_to_exitcode(self._child.rstatus)
        self._signal(signal.SIGKILL)
        self._over = True
        self._child.stop()
        self._child.close()
        if self._timer is not None:
            self._timer.close()
        if self._again is None:
            self._finish()

    def _finish(self) -> None:
        """Read what it has written last, in turns, and say that it is over."""
        while self._take():
            if self._stdout < 0 or self._last <= 0 or not self._read():
                break
            self._last -= 1
        else:
            return  # it goes on after the others
        self._close_stdout()
        if self._stderr >= 0:
            self._complains()
        self._tell(end=True)
        self._close_stderr()
        self.usable = False
        self._close_stdin()
        self._listener.ended(self._status, self._splitter.rest())


def launch(
    command: Command, environment: Mapping[str, str], framing: Framing, bounds: Bounds, listener: Listener
) -> Process:
    """Start a program. May block, and raises ProgramError."""
    return Process(spawn(command, environment), listener, framing, bounds)
