"""Runs a program of jq in a process of its own, with a limit of time.

jq holds the interpreter's lock while it computes, and cannot be interrupted. Some programs never end, and for others
the time grows with the square of the message's size: `gsub` takes 40 s for a text of 64 KiB. Their memory has no bound
either, and they can read the environment. A process can be ended, and gets none of that.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from gevent.event import AsyncResult, Event
from gevent.lock import BoundedSemaphore

from fws.base.decoding import decode
from fws.base.errors import ProgramError
from fws.programs.command import Command
from fws.programs.framing import Lengths
from fws.programs.process import Bounds, Process, launch

# It knows nothing of fws, and gets none of the variables of this process, which have its secrets.
_COMMAND = Command((sys.executable, "-I", str(Path(__file__).with_name("_jq_process.py"))), "/", "jq")
_FRAMING = Lengths()
# Bytes of all results of a message as JSON. Nobody else is served while they are decoded, which takes 2 to 15 ms, or a
# second if all of them are floats that msgspec reads slowly, such as 1e300.
MAX_ANSWER = 1024 * 1024
# The largest answer, the bytes that wait until the process reads them, and the seconds until it is killed.
_BOUNDS = Bounds(MAX_ANSWER, MAX_ANSWER, 1.0)
# The most messages that wait for the process.
MAX_WAITING = 100
# Seconds that a new process has to begin.
BEGIN = 10.0

# Seconds that a process that was killed has to go.
END = 1.0

logger = logging.getLogger(__name__)


class JqError(Exception):
    """The program has failed. The text is short, and is meant for the client."""


class _Answers:
    """Listens to one process, and keeps its next answer. Implements `fws.programs.process.Listener`."""

    def __init__(self) -> None:
        self.next = AsyncResult()
        self.over = Event()

    def received(self, message: bytes) -> None:
        self.next.set(message)

    def said(self, line: str) -> None:
        """What jq's `debug` writes is of no use to anybody here."""

    def failed(self, error: ProgramError) -> None:
        self.next.set_exception(error)

    def ended(self, status: int, rest: bytes) -> None:
        self.over.set()
        if not self.next.ready():
            self.next.set_exception(ProgramError("it has ended"))


class JqProcess:
    """A process that runs one program for one message after the other. It is started when it is needed.

    Args:
        most: the results that are wanted of a message.
        timeout: seconds that a message may wait for its turn, and then take. If it takes longer, the process is ended,
            and the next message has a new one.
    """

    def __init__(self, program: str, most: int, timeout: float) -> None:
        self._begin = [program.encode(), str(most).encode(), str(MAX_ANSWER).encode()]
        self._timeout = timeout
        self._turns = BoundedSemaphore()
        self._waiting = 0
        self._process: Process | None = None
        self._answers = _Answers()

    def results(self, text: bytes) -> list[Any]:
        """The results for one message. Blocks.

        Args:
            text: the message as JSON.

        Raises:
            JqError: the program has failed or takes too long.
        """
        if self._waiting >= MAX_WAITING:
            raise JqError("too many messages wait")
        self._waiting += 1
        try:
            if not self._turns.acquire(timeout=self._timeout):
                raise JqError("this takes too long")
            try:
                answer = self._ask(text)
            finally:
                self._turns.release()
        finally:
            self._waiting -= 1
        try:
            found: dict[str, Any] = decode(answer)
        except ValueError:
            raise JqError("the result is too large or nested too deep") from None
        if "error" in found:
            raise JqError(str(found["error"]))
        results: list[Any] = found["results"]
        return results

    def _ask(self, text: bytes) -> bytes:
        try:
            if self._process is None or not self._process.usable:
                self._answers = _Answers()
                self._process = launch(_COMMAND, {}, _FRAMING, _BOUNDS, self._answers)
                self._exchange(BEGIN, *self._begin)
            return self._exchange(self._timeout, text)
        except TimeoutError:
            self.stop()
            logger.warning("jq took longer than %g s for a message of %d bytes", self._timeout, len(text))
            raise JqError("this takes too long") from None
        except ProgramError as error:
            self.stop()
            logger.warning("jq failed at a message of %d bytes: %s; it may have needed memory", len(text), error)
            raise JqError("this cannot be computed") from None
        except BaseException:
            self.stop()  # what it would still answer belongs to no message
            raise

    def _exchange(self, seconds: float, *packets: bytes) -> bytes:
        """Write packets, and return the answer to all of them. Raises TimeoutError and ProgramError."""
        assert self._process is not None
        answer = self._answers.next = AsyncResult()
        for packet in packets:
            self._process.write(_FRAMING.encode(packet))
        # Not `get` with a timeout, whose exception could not be told from that of a caller's own time limit.
        answer.wait(seconds)
        if not answer.ready():
            raise TimeoutError
        data: bytes = answer.get()
        return data

    def stop(self) -> None:
        """End the process. The next message starts another one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()

    def end(self) -> None:
        """End the process, and wait until it is gone."""
        if self._process is not None:
            self.stop()
            self._answers.over.wait(END)

    def __del__(self) -> None:
        # Nobody stops the filters of a check or a test.
        self.stop()
