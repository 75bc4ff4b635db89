"""What is counted and logged about the programs of one filter."""

from __future__ import annotations

import logging
import signal
import time

from fws.base.metrics import Metrics
from fws.base.novelty import Novelty
from fws.pipeline.interfaces import Client

logger = logging.getLogger("fws.programs")


class ProgramLog:
    """Counts and logs. Of what each message may cause, a reason has one line in a minute; of the rest the log folds
    what comes too often (`fws.base.log`).

    Args:
        name: what the log calls the program.
        client: the id of the client that the program runs for; empty if it runs for several, or for none.
    """

    __slots__ = ("_client", "_name", "_novelty", "metrics")

    def __init__(self, name: str, metrics: Metrics, client: str = "", novelty: Novelty | None = None) -> None:
        self._name = name
        self._client = client
        self.metrics = metrics
        self._novelty = Novelty(time.monotonic) if novelty is None else novelty

    def of(self, client: Client | None) -> ProgramLog:
        """The same log for what concerns one client."""
        return self if client is None else ProgramLog(self._name, self.metrics, client.id, self._novelty)

    def about(self, what: str) -> str:
        """A sentence about the program, with its name."""
        return f"{self._name}: {what}"

    def said(self, pid: int, line: str) -> None:
        """A line that a program has written to stderr."""
        logger.info("%s (%d): %s", self._name, pid, line, extra=self._extra)

    def failed(self, pid: int, why: str) -> None:
        """A program is ended because it has broken the rules."""
        self.metrics.count("program_failures")
        logger.warning("%s (%d) is ended: %s", self._name, pid, why, extra=self._extra)

    def cannot_start(self, why: str) -> None:
        """A program could not be started."""
        self.metrics.count("program_failures")
        logger.warning("%s: %s", self._name, why, extra=self._extra)

    def ended(self, pid: int, status: int, *, expected: bool) -> None:
        """A program has ended.

        Args:
            expected: whether fws has ended it.
        """
        if status and not expected:
            self.metrics.count("program_exits")
        level = logging.DEBUG if expected else logging.INFO if status == 0 else logging.WARNING
        logger.log(level, "%s (%d) %s", self._name, pid, status_text(status), extra=self._extra)

    def wrong(self, why: str) -> None:
        """A program wrote something that cannot be carried out."""
        self.metrics.count("program_answers_refused")
        self._warn(f"{self._name} wrote something wrong: {why}")

    def fault(self, why: str) -> None:
        """An event could not be served, because of its program."""
        self.metrics.count("program_faults")
        self._warn(why)

    def _warn(self, line: str) -> None:
        if self._novelty.is_new(line):
            logger.warning("%s", line, extra=self._extra)
        else:
            logger.debug("%s", line, extra=self._extra | {"cause": self._client})

    @property
    def _extra(self) -> dict[str, str]:
        return {"cause": self._name, "client": self._client}


def status_text(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"has ended with the status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"the signal {-status}"
    return f"was ended by {name}"
