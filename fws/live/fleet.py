"""The workers of one node as one: the supervisor passes requests on to all of them, and puts their answers together."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gevent
import msgspec
from gevent.queue import Queue

from fws.live.control import ControlError, Reply, ask, asking
from fws.live.reload import Report, Requests, described

logger = logging.getLogger("fws")

# Seconds in which a worker must prepare a generation, and put it in force.
PREPARE = 120.0
COMMIT = 10.0
# Seconds after which a worker that has begun to serve has its control socket.
SOON = 0.2
# Answers of workers that wait for a slow asker. Workers that are ahead of it wait.
MAX_WAITING = 100


class Fleet:
    """Answers requests to a node with several workers.

    Args:
        file: the configuration.
        workers: returns the control sockets of the workers that serve.
        generation: the number of the generation in force.
    """

    def __init__(self, file: str, workers: Callable[[], Sequence[Path]], generation: int = 1) -> None:
        self._file = os.path.abspath(file)
        self._workers = workers
        self._generation = generation
        self.reloads = Requests(self._reload)
        self._reloaded = float("-inf")

    @property
    def generation(self) -> int:
        """The number of the generation in force."""
        return self._generation

    def begun(self, since: float) -> None:
        """A worker serves from now on. If something was put in force after it was started, it may not have it.

        Args:
            since: the monotonic time at which it was started.
        """
        if self._reloaded > since:
            gevent.spawn_later(SOON, self.reloads.ask, test=False)

    def reloaded(self) -> None:
        """Something was put in force in the processes that serve."""
        self._reloaded = time.monotonic()

    def answer(self, request: Mapping[str, Any], reply: Reply) -> None:
        """Answer one request. Raises ControlError as a worker does."""
        match request.get("do"):
            case "hello":
                number = len(self._workers())
                reply({"pid": os.getpid(), "file": self._file, "generation": self._generation, "workers": number})
            case "generation":
                reply(described(self._file, self._generation, self.reloads))
            case "reload":
                test = bool(request.get("test", True))
                reply(msgspec.to_builtins(self.reloads.ask(dry_run=bool(request.get("dry_run")), test=test)))
            case "kick":
                kicked = sum(int(answer["kicked"]) for answer in self._each(request))
                reply({"kicked": kicked})
            case "channels":
                members: dict[str, int] = {}
                for answer in self._each(request):
                    members[answer["channel"]] = members.get(answer["channel"], 0) + int(answer["members"])
                for name in sorted(members):
                    reply({"channel": name, "members": members[name]})
            case "history" | "presence":
                # Every worker would give the same answer.
                paths = self._workers()
                if not paths:
                    raise ControlError("no worker serves")
                with asking(paths[0], request) as answers:
                    for answer in answers:
                        reply(answer)
            case _:
                for answer in self._each(request):
                    reply(answer)

    def _each(self, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The answers of all workers as they arrive. A worker that ends meanwhile is left out."""
        answers: Queue = Queue(MAX_WAITING)
        paths = self._workers()

        def relay(path: Path) -> None:
            try:
                with asking(path, request) as found:
                    for answer in found:
                        answers.put(answer)
            except ControlError as error:
                answers.put(error)
            finally:
                answers.put(None)

        greenlets = [gevent.spawn(relay, path) for path in paths]
        running, refusals = len(greenlets), []
        try:
            while running:
                answer = answers.get()
                if answer is None:
                    running -= 1
                elif isinstance(answer, ControlError):
                    refusals.append(answer)
                else:
                    yield answer
        finally:
            gevent.killall(greenlets, block=False)
        if refusals and len(refusals) == len(paths):
            raise refusals[0]

    def _reload(self, dry_run: bool, test: bool) -> Report:
        """Let every worker prepare the new generation, and then all put it in force, or none."""
        paths = self._workers()
        if not paths:
            return Report("refused", self._generation, ["no worker serves"])
        prepared: list[Path] = []
        reports: list[Report] = []
        try:
            for number, path in enumerate(paths):
                # The tests of the file need not run more than once.
                report = self._ask(path, {"do": "prepare", "dry_run": dry_run, "test": test and number == 0}, PREPARE)
                reports.append(report)
                if report.status == "prepared":
                    prepared.append(path)
                elif report.status not in ("unchanged", "possible"):
                    break
        except ControlError as error:
            reports.append(Report("refused", self._generation, [f"a worker could not prepare: {error}"]))
        worst = next((one for one in reports if one.status in ("refused", "restart")), None)
        if worst is not None:
            self._discard(prepared)
            if not dry_run:
                logger.error("the reload was refused, generation %d stays in force", self._generation)
            return msgspec.structs.replace(worst, generation=self._generation)
        if not prepared:
            return msgspec.structs.replace(reports[0], generation=self._generation)
        number = self._generation + 1
        lines = next(one.lines for one in reports if one.status == "prepared")
        commits = [gevent.spawn(self._commit, path, number) for path in prepared]
        gevent.joinall(commits)
        self._generation = number
        self.reloaded()
        failed = [one.value for one in commits if one.value]
        logger.info("generation %d is in force in %d workers", number, len(prepared) - len(failed))
        for line in failed:
            # A worker that dies at this moment is replaced by one that reads the new file.
            logger.error("%s", line)
        return Report("done", number, lines)

    def _commit(self, path: Path, number: int) -> str:
        """Put the prepared generation of one worker in force. Returns why that failed."""
        try:
            self._ask(path, {"do": "commit", "number": number}, COMMIT)
        except ControlError as error:
            return f"a worker did not swap: {error}"
        return ""

    def _discard(self, paths: Sequence[Path]) -> None:
        for path in paths:
            try:
                ask(path, {"do": "discard"}, COMMIT)
            except ControlError:
                pass  # a worker that has died has nothing to discard

    @staticmethod
    def _ask(path: Path, request: Mapping[str, Any], timeout: float) -> Report:
        return msgspec.convert(ask(path, request, timeout), Report)
