"""Reload: a new generation is prepared beside the running one, and put in force between two events.

The steps are: read, check, import changed modules, build, run the file's tests, start new filters, swap. A fault in any
of them leaves the running generation as it is, because nothing of it was touched.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any, Protocol

import gevent
import msgspec
from gevent import Greenlet
from gevent.event import AsyncResult
from gevent.lock import BoundedSemaphore

from fws.base.errors import ConfigError, FwsError
from fws.compiler.generation import Generation
from fws.live.changes import Change, changes, needs_restart
from fws.live.retirement import Retirement
from fws.live.watch import EVERY, SETTLE
from fws.pipeline.traceback import culprit

logger = logging.getLogger("fws")

# The exit statuses of `fws reload`.
RESTART = 3
REFUSED = 4


class Report(msgspec.Struct, frozen=True):
    """The answer to whoever asked for a reload.

    Attributes:
        status: `done`, `unchanged`, `possible` (a dry run), `restart` or `refused`.
        generation: the number of the generation in force.
        lines: what has changed, or every problem.
    """

    status: str
    generation: int
    lines: list[str] = []

    @property
    def exit_status(self) -> int:
        return {"restart": RESTART, "refused": REFUSED}.get(self.status, 0)


class Past(msgspec.Struct, frozen=True):
    """A reload that was made, and when, in Unix time."""

    at: float
    report: Report


class ReloadError(FwsError):
    """A step of a reload failed.

    Args:
        lines: what is wrong.
    """

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class Prepared(msgspec.Struct, frozen=True):
    """A new generation that has passed every step but the swap, and what differs."""

    generation: Generation
    changes: list[Change]


class Site(Protocol):
    """The server, as far as a reload needs it."""

    @property
    def generation(self) -> Generation:
        """The generation in force."""

    def build(self) -> Generation:
        """Read and compile the file anew. May block. Raises ConfigError, and ReloadError for a wrong certificate."""

    def test(self) -> list[str]:
        """Run the file's tests in another process. May block. Returns why they fail."""

    def clients_at(self, path: str | None) -> int:
        """The number of clients at an endpoint."""

    def apply(self, generation: Generation) -> None:
        """Put a generation in force. Must not block."""

    def clock(self) -> float:
        """Monotonic seconds."""


class Reloader:
    """Prepares generations and puts them in force, one at a time. Its methods are called in greenlets.

    Attributes:
        refused: why the last reload failed; empty if it succeeded.
        since: when the generation in force was put in force, on the clock of the server.
        retiring: former filters that are not stopped yet.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._prepared: Prepared | None = None
        self.refused = ""
        self.since = site.clock()
        self.retiring: list[Retirement] = []

    def reload(self, *, dry_run: bool = False, test: bool = True) -> Report:
        """Do all steps. Never raises: what fails is in the report."""
        report = self.prepare(dry_run=dry_run, test=test)
        return self.commit() if report.status == "prepared" else report

    def prepare(self, *, dry_run: bool = False, test: bool = True) -> Report:
        """Do all steps but the swap, and keep the result for `commit`. The status is then `prepared`.

        Args:
            dry_run: only say what would change. Filters are not started, and nothing is kept.
            test: whether to run the file's tests.
        """
        self.discard()
        old = self._site.generation
        try:
            new = self._site.build()
        except ConfigError as error:
            lines = [str(problem) for problem in error.problems]
            return self._refuse(Report("refused", old.number, lines), dry_run)
        except ReloadError as error:
            return self._refuse(Report("refused", old.number, error.lines), dry_run)
        report = self._examine(old, new, dry_run=dry_run, test=test)
        if report.status != "prepared":
            new.registry.forget(old.registry)
        return report

    def _examine(self, old: Generation, new: Generation, *, dry_run: bool, test: bool) -> Report:
        """Do the steps after the build."""
        found = changes(old, new, self._site.clients_at)
        lines = [str(change) for change in found]
        if not found:
            self._succeeded("unchanged")
            return Report("unchanged", old.number, ["nothing has changed"])
        if needs_restart(found):
            return self._refuse(Report("restart", old.number, lines), dry_run)
        try:
            if test and (failures := self._site.test()):
                raise ReloadError(failures)
            if dry_run:
                return Report("possible", old.number, lines)
            self._start(new, old)
        except ReloadError as error:
            return self._refuse(Report("refused", old.number, error.lines), dry_run)
        new.number = old.number + 1
        self._prepared = Prepared(new, found)
        return Report("prepared", old.number, lines)

    def commit(self, number: int = 0) -> Report:
        """Put the prepared generation in force.

        Args:
            number: the number that it gets; 0 for the next one.
        """
        prepared, self._prepared = self._prepared, None
        if prepared is None:
            return Report("refused", self._site.generation.number, ["there is no prepared generation"])
        old, new = self._site.generation, prepared.generation
        new.number = number or new.number
        retirement = Retirement(old, new, self._site.clock() + new.config.server.drain)
        self._site.apply(new)
        self.since = self._site.clock()
        self.retiring.append(retirement)
        self._succeeded("done")
        lines = [str(change) for change in prepared.changes]
        logger.info("generation %d is in force, with %s", new.number, _number(lines, "change"))
        for line in lines:
            logger.info("  %s", " ".join(line.split()))
        return Report("done", new.number, lines)

    def discard(self) -> None:
        """Drop the prepared generation: another process could not prepare its own."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            self._retire(prepared.generation, self._site.generation)

    def look(self, now: float, failed: Callable[[BaseException], object]) -> None:
        """Stop the filters that have become unused. Call it regularly."""
        self.retiring = [one for one in self.retiring if not one.look(now, failed)]

    def end(self, failed: Callable[[BaseException], object]) -> list[Greenlet]:
        """The server ends: stop the former filters that are still in use.

        Returns:
            A greenlet for each filter and source that is still being stopped.
        """
        self.discard()
        self.look(math.inf, failed)
        return [greenlet for one in self.retiring for greenlet in one.stopping]

    def _start(self, new: Generation, old: Generation) -> None:
        try:
            new.start(without=old.components)
        except BaseException as error:  # a user's filter may raise anything
            self._retire(new, old)
            where = culprit(error.__traceback__) or "a filter"
            raise ReloadError([f"{where} failed to start: {type(error).__name__}: {error}"]) from error

    def _retire(self, new: Generation, old: Generation) -> None:
        """A generation is given up that was never in force: no event can use it."""
        retirement = Retirement(new, old, -math.inf)
        # What has not been started may fail to stop.
        retirement.look(self._site.clock(), lambda error: None)
        self.retiring.append(retirement)

    def _succeeded(self, outcome: str) -> None:
        self.refused = ""
        self._site.generation.services.metrics.count("reloads", label=outcome)

    def _refuse(self, report: Report, dry_run: bool) -> Report:
        if not dry_run:
            first = report.lines[0].split("\n")[0]
            if report.status == "restart":
                first = next(" ".join(line.split()) for line in report.lines if line.startswith("!"))
            self.refused = first
            self._site.generation.services.metrics.count("reloads", label=report.status)
            what = "it needs a restart" if report.status == "restart" else _number(report.lines, "problem")
            logger.error("the reload was refused, generation %d stays in force: %s", report.generation, what)
            for line in report.lines:
                for part in line.split("\n"):
                    logger.error("  %s", " ".join(part.split()) if report.status == "restart" else part)
        return report


class Requests:
    """Makes reloads one after the other. Requests that arrive while one is running share exactly one more.

    Args:
        reload: does a reload. It may block, and must not raise.
        wall: Unix time.

    Attributes:
        last: the last one that was no dry run; None before the first.
        since: when the generation in force was put in force, in Unix time.
    """

    def __init__(self, reload: Callable[[bool, bool], Report], wall: Callable[[], float] = time.time) -> None:
        self._reload = reload
        self._wall = wall
        self.last: Past | None = None
        self.since = wall()
        self._turn = BoundedSemaphore()
        self._waiting: dict[tuple[bool, bool], AsyncResult] = {}

    def ask(self, *, dry_run: bool = False, test: bool = True) -> Report:
        """Wait for a reload that begins after this call, and return its report."""
        key = dry_run, test
        shared = self._waiting.get(key)
        if shared is not None:
            report: Report = shared.get()
            return report
        mine = self._waiting[key] = AsyncResult()
        with self._turn:
            # Whoever asks from now on may have changed the file after it was read.
            del self._waiting[key]
            report = self._reload(*key)
        if not dry_run:
            self.last = Past(self._wall(), report)
            if report.status == "done":
                self.since = self.last.at
        mine.set(report)
        return report


def described(file: str, number: int, requests: Requests) -> dict[str, Any]:
    """The generation in force and the last reload, as the control socket answers them.

    Args:
        file: the configuration.
        number: the number of the generation.
    """
    last = requests.last
    return {
        "file": file,
        "generation": number,
        "since": requests.since,
        "last": None if last is None else {"at": last.at, **msgspec.to_builtins(last.report)},
    }


def watch(look: Callable[[], list[str]], changed: Callable[[], object]) -> None:
    """Call `changed` whenever files have changed. Runs in a greenlet of its own, until that is killed.

    Args:
        look: returns the changes since its last call.
    """
    while True:
        gevent.sleep(EVERY)
        found = look()
        if not found:
            continue
        while True:
            gevent.sleep(SETTLE)
            further = look()
            if not further:
                break
            found += further
        for line in dict.fromkeys(found):
            logger.info("%s", line)
        changed()


def _number(lines: list[str], what: str) -> str:
    return f"{len(lines)} {what}{'s' if len(lines) != 1 else ''}"
