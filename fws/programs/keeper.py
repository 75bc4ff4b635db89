"""Keeps one program running: starts it again when it has ended, and carries questions to it and answers back."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import AsyncResult, Event

from fws.base.backoff import Backoff
from fws.base.errors import ProgramError
from fws.programs.log import ProgramLog, status_text
from fws.programs.process import Listener, Process

# The first wait before a program is started again, in seconds, after one attempt at once.
FIRST = 0.1
# A program that has lived for so many seconds has not failed at its start: the next wait is the first one again.
LIVED = 10.0
# It is known that a program is silent for too long only after whoever asked last has been told: seconds after that.
AFTER = 0.01
# The most questions that wait for answers, those included whose askers have given up.
MOST_WAITING = 10_000
# A question is not asked if the program seems to need more than this part of the time limit for those before it.
HOPE = 0.8
# The part of each answer in the mean time that an answer takes.
WEIGHT = 0.125

Launch = Callable[[Listener], Process]


class Late(ProgramError):
    """No answer in time."""


class Keeper:
    """One program that is to run all the time.

    Answers come in the order of the questions. Nothing in a line says which question it answers, so that after a
    missing or an additional line every answer would go to the wrong question, and perhaps to another client. Whenever
    this may have happened, the program is ended and started again: when questions wait and nothing at all has been
    answered for the time limit, and when a line comes that no question has asked for. Whoever waits then gets a
    ProgramError.

    A program that answers is not ended because it has much to do. Whoever has waited for too long gets a ProgramError,
    but the question keeps its place, and nobody reads its answer. Work that nobody waits for would leave less and less
    time for the rest, so that questions fail at once while the program is too far behind.

    Args:
        launch: starts the program. It may block, and raises ProgramError.
        timeout: seconds for an answer, including the wait for the start, for room in the queue, and for the answers to
            earlier questions.
        most: the longest wait before it is started again, in seconds.
        heard: called with each message of the program, in the event loop. It returns the answer to the oldest question,
            or None if the message is none. It raises ProgramError for an answer that is wrong.
        ended: called with the exit status whenever the program has ended without `stop`. It may call `stop`, so that
            the program is not started again.
        over: called once it has been stopped and has ended.
    """

    def __init__(
        self,
        launch: Launch,
        log: ProgramLog,
        *,
        timeout: float,
        most: float,
        heard: Callable[[bytes], Any],
        ended: Callable[[int], object],
        over: Callable[[], object],
    ) -> None:
        self._launch = launch
        self._log = log
        self._timeout = timeout
        self._late = log.about(f"it has not answered within {timeout:g} s")
        self._behind = log.about(f"more messages wait for it than it can answer within {timeout:g} s")
        self._unread = log.about(f"it has neither started nor read anything for {timeout:g} s")
        self._heard = heard
        self._ended = ended
        self._when_over = over
        self._backoff = Backoff(FIRST, most)
        # Each with the time at which it was asked.
        self._waiters: deque[tuple[float, AsyncResult]] = deque()
        # Since when it has answered nothing although it should, and the mean time that an answer takes, in seconds.
        self._answered = 0.0
        self._pace = 0.0
        self._patience: Any = None
        self._process: Process | None = None
        self._since = 0.0
        self._why = ""
        # Whether it is known if the program runs: no start is under way.
        self._settled = Event()
        self._begun = False
        self._stopped = False
        self._killed = False
        self._over = Event()
        self._timer: Any = None

    def begin(self) -> None:
        """Start the program, unless that has been done."""
        if not self._begun:
            self._begun = True
            gevent.spawn(self._start)

    def ready(self) -> None:
        """Wait until the program has been started. Raises ProgramError if it cannot be, or has ended."""
        with gevent.Timeout(self._timeout, Late(self._unread)):
            self._running()

    def ask(self, question: bytes) -> Any:
        """Write a question and wait for its answer, as `heard` has read it. Raises ProgramError."""
        waiter = None
        try:
            with gevent.Timeout(self._timeout, Late(self._late)):
                process = self._with_room()
                waiting = len(self._waiters)
                if waiting >= MOST_WAITING or waiting * self._pace > self._timeout * HOPE:
                    raise ProgramError(self._behind)
                # Between these two lines nobody else can write.
                waiter = self._expect()
                process.write(question)
                return waiter.get()
        except Late:
            if waiter is not None:
                self._log.metrics.count("program_timeouts")
            raise

    def tell(self, message: bytes) -> None:
        """Write a message that has no answer. Waits for room in the queue. Raises ProgramError."""
        with gevent.Timeout(self._timeout, Late(self._unread)):
            self._with_room().write(message)

    def stop(self) -> None:
        """End the program for good. Does not wait for its end."""
        if self._stopped:
            return
        self._stopped = True
        self._fail("it is not running any more")
        if self._patience is not None:
            self._patience.kill(block=False)
        if self._process is not None:
            self._process.end()
        elif not self._begun or self._settled.is_set():
            if self._timer is not None:
                self._timer.kill(block=False)
            self._finished()
        # Otherwise a start is under way, which will find that it is not wanted any more.

    def kill(self) -> None:
        """End the program at once, also one whose start is still under way."""
        self._killed = True
        if self._process is not None:
            self._process.kill()

    def wait(self, seconds: float) -> None:
        """After `stop`: wait until it has ended, but not longer than this."""
        self._over.wait(seconds)

    # What its process tells.

    def received(self, message: bytes) -> None:
        answer: Any = None
        error = None
        try:
            answer = self._heard(message)
        except ProgramError as wrong:
            error = wrong
        if answer is None and error is None:
            return
        if not self._waiters:
            if self._process is not None:
                self._process.fail(ProgramError("it wrote what no message had asked for: does it read its input?"))
            return
        asked, waiter = self._waiters.popleft()
        now = time.monotonic()
        self._pace += (now - max(asked, self._answered) - self._pace) * WEIGHT
        self._answered = now
        if error is not None:
            waiter.set_exception(error)
        else:
            waiter.set(answer)

    def said(self, line: str) -> None:
        self._log.said(self._process.pid if self._process is not None else 0, line)

    def failed(self, error: ProgramError) -> None:
        self._why = str(error)
        if self._process is not None:
            self._log.failed(self._process.pid, self._why)
        self._fail(self._why)

    def ended(self, status: int, rest: bytes) -> None:
        process, self._process = self._process, None
        assert process is not None
        expected = self._stopped or bool(self._why)
        self._log.ended(process.pid, status, expected=expected)
        if time.monotonic() - self._since >= LIVED:
            self._backoff.reset()
        self._why = self._why or status_text(status)
        self._fail(self._why)
        if self._stopped:
            self._finished()
            return
        self._ended(status)
        if not self._stopped:
            self._down(self._why)

    def _finished(self) -> None:
        self._settled.set()
        self._over.set()
        self._when_over()

    # Its answers.

    def _expect(self) -> AsyncResult:
        """A place for the answer to a question that is written now."""
        now = time.monotonic()
        if not self._waiters:
            self._answered = now
        self._waiters.append((now, waiter := AsyncResult()))
        if self._patience is None:
            self._patience = gevent.spawn_later(self._timeout + AFTER, self._is_silent)
        return waiter

    def _is_silent(self) -> None:
        """End the program if it has answered nothing for too long. One timer serves any number of questions."""
        self._patience = None
        if not self._waiters or self._process is None:
            return
        left = self._answered + self._timeout - time.monotonic()
        if left > 0:
            self._patience = gevent.spawn_later(left + AFTER, self._is_silent)
        else:
            self._process.fail(ProgramError(f"it has not answered anything for {self._timeout:g} s"))

    # Starts.

    def _with_room(self) -> Process:
        """The program, as soon as it may be written to."""
        running = self._running()
        running.wait_for_room()
        if not running.usable:
            raise self._error(self._why or "it has just ended")
        return running

    def _running(self) -> Process:
        """The program, as soon as it has been started."""
        self.begin()
        if not self._settled.is_set():
            self._settled.wait()
        process = self._process
        if process is None or not process.usable:
            raise self._error(self._why or "it has just ended")
        return process

    def _start(self) -> None:
        if self._stopped:
            self._finished()
            return
        self._why = ""
        self._pace = 0.0
        try:
            process = self._launch(self)
        except ProgramError as error:
            self._log.cannot_start(str(error))
            self._down(str(error))
            if self._stopped:
                self._finished()
            return
        self._process = process
        self._since = time.monotonic()
        self._settled.set()
        if self._killed:
            process.kill()
        elif self._stopped:
            process.end()

    def _down(self, why: str) -> None:
        """It does not run: start it again later. Until then questions fail at once; they would wait for too long."""
        self._why = why
        self._fail(why)
        if self._stopped:
            return
        wait = self._backoff.next()
        self._log.metrics.count("program_restarts")
        if wait:
            self._settled.set()
        else:
            self._settled.clear()
        self._timer = gevent.spawn_later(wait, self._start_again)

    def _start_again(self) -> None:
        self._settled.clear()
        self._start()

    def _fail(self, why: str) -> None:
        error = self._error(why)
        while self._waiters:
            self._waiters.popleft()[1].set_exception(error)

    def _error(self, why: str) -> ProgramError:
        return ProgramError(self._log.about(why))
