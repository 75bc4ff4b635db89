"""Runs a program for one message: all of its input, all of its output, and its exit status."""

from __future__ import annotations

from collections.abc import Callable

import gevent
from gevent.event import AsyncResult

from fws.base.errors import ProgramError
from fws.programs.keeper import Launch
from fws.programs.log import ProgramLog, status_text


class Once:
    """One run of a program.

    Args:
        launch: starts it. It may block, and raises ProgramError.
        over: called with this object once the process has ended, which may be later than its answer is given up.
    """

    __slots__ = ("_log", "_over", "_process", "_result", "_why")

    def __init__(self, launch: Launch, log: ProgramLog, over: Callable[[Once], object]) -> None:
        self._log = log
        self._over = over
        self._result: AsyncResult = AsyncResult()
        self._why: ProgramError | None = None
        self._process = launch(self)

    def run(self, data: bytes, timeout: float) -> bytes:
        """Write the input, and return the output. Blocks until the program has ended.

        Args:
            timeout: seconds. After them the program is ended.

        Raises:
            ProgramError: it took too long, wrote too much, or ended with a status other than 0.
        """
        process = self._process
        process.write(data)
        process.close_input()
        late = ProgramError(self._log.about(f"it took longer than {timeout:g} s"))
        try:
            with gevent.Timeout(timeout, late):
                output: bytes = self._result.get()
                return output
        except ProgramError as error:
            if error is late:
                self._log.metrics.count("program_timeouts")
                process.fail(ProgramError(f"it took longer than {timeout:g} s"))
            raise
        finally:
            # Also if the client's greenlet is killed.
            process.end()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    # What its process tells.

    def received(self, message: bytes) -> None:
        pass

    def said(self, line: str) -> None:
        self._log.said(self._process.pid, line)

    def failed(self, error: ProgramError) -> None:
        self._why = ProgramError(self._log.about(str(error)))
        self._log.failed(self._process.pid, str(error))

    def ended(self, status: int, rest: bytes) -> None:
        if self._why is None and status != 0:
            self._log.metrics.count("program_exits")
            self._why = ProgramError(self._log.about(f"it {status_text(status)}"))
        if self._why is not None:
            self._result.set_exception(self._why)
        else:
            self._result.set(rest)
        self._over(self)
