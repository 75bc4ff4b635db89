"""Runs a program for one message: all of its input, all of its output, and its exit status."""

from __future__ import annotations

import gevent
from gevent.event import AsyncResult

from fws.base.errors import ProgramError
from fws.programs.journal import Journal, status_text
from fws.programs.keeper import Launch


class Once:
    """One run of a program.

    Args:
        running: where it is until the program has ended, which may be after `run` has given up.
    """

    __slots__ = ("_journal", "_process", "_result", "_running", "_why")

    def __init__(self, launch: Launch, journal: Journal, running: set[Once]) -> None:
        self._journal = journal
        self._running = running
        self._result: AsyncResult = AsyncResult()
        self._why: ProgramError | None = None
        self._process = launch(self)
        running.add(self)

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
        late = ProgramError(self._journal.about(f"it took longer than {timeout:g} s"))
        try:
            with gevent.Timeout(timeout, late):
                output: bytes = self._result.get()
                return output
        except ProgramError as error:
            if error is late:
                self._journal.metrics.count("program_timeouts")
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
        self._journal.said(self._process.pid, line)

    def failed(self, error: ProgramError) -> None:
        self._why = ProgramError(self._journal.about(str(error)))
        self._journal.failed(self._process.pid, str(error))

    def ended(self, status: int, rest: bytes) -> None:
        self._running.discard(self)
        if self._why is None and status != 0:
            self._journal.metrics.count("program_exits")
            self._why = ProgramError(self._journal.about(f"it {status_text(status)}"))
        if self._why is not None:
            self._result.set_exception(self._why)
        else:
            self._result.set(rest)
