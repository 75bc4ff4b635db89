"""The supervisor's decisions: which worker is started, replaced, asked, dismissed or killed, and when.

It has no processes and no clock of its own: it is given a clock, and works with the protocol `Process`, which
`fws.workers.processes` implements.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from typing import Protocol

logger = logging.getLogger("fws")

# Seconds without a heartbeat after which a worker is considered frozen: normally, and while it loads its filters.
FROZEN = 20.0
START = 60.0
# Seconds that a frozen worker has to answer where it is.
ANSWER = 1.5
# A worker that ends earlier than this many seconds after its start counts as failing at start.
STEADY = 10.0
# The limits of the seconds until a worker that fails at start is started again.
SHORTEST_WAIT = 1.0
LONGEST_WAIT = 30.0
# Seconds on top of the drain time, for the interpreter to end.
GRACE = 1.0


class Process(Protocol):
    """One worker process as its supervisor sees it."""

    pid: int

    def __str__(self) -> str:
        """What tells it from others in the log, such as `pid 17`."""

    def status(self) -> int | None:
        """The exit status, negative for a signal; None while the process runs."""

    def heard(self) -> float:
        """When it had its last heartbeat; 0 before the first."""

    def serves(self) -> bool:
        """Whether it accepts connections."""

    def where(self) -> str:
        """Its answer to `ask`; empty until there is one."""

    def stack(self) -> str:
        """Where it is, as far as this can be found without its answer; empty if it cannot."""

    def ask(self) -> None:
        """Ask where it is."""

    def send(self, number: int) -> None:
        """Send a signal. Does nothing if the process has ended."""

    def close(self) -> None:
        """The process has ended: free what belongs to it."""


class Worker:
    """One process, and what was decided about it.

    Attributes:
        since: when it was started.
        ready: whether it has begun to serve.
        asked: when it was asked where it is; None if it was not.
        until: when it will be killed if it was dismissed; None if it was not.
    """

    __slots__ = ("asked", "killed", "number", "process", "ready", "since", "until")

    def __init__(self, number: int, process: Process, since: float) -> None:
        self.number = number
        self.process = process
        self.since = since
        self.ready = False
        self.killed = False
        self.asked: float | None = None
        self.until: float | None = None

    def __str__(self) -> str:
        return f"worker {self.number} ({self.process})"


class Slot:
    """A place for one worker, its successor while the workers are renewed, and former workers that are draining.

    Attributes:
        failed: whether a worker of this slot has ever ended unexpectedly.
        wait: seconds to wait after the next failure at start.
        due: when the next worker may start.
    """

    __slots__ = ("due", "failed", "leaving", "number", "successor", "wait", "worker")

    def __init__(self, number: int) -> None:
        self.number = number
        self.worker: Worker | None = None
        self.successor: Worker | None = None
        self.leaving: list[Worker] = []
        self.failed = False
        self.wait = 0.0
        self.due = 0.0

    def all(self) -> list[Worker]:
        return [worker for worker in (self.worker, self.successor, *self.leaving) if worker is not None]

    def free(self, worker: Worker | None, now: float) -> float:
        """The worker has ended or could not be started. Returns the seconds until the next one may start.

        This is 0 if the worker ran for `STEADY` seconds, and at the first failure of a worker that served. It is 1 s if
        the worker did not serve. It doubles with each failure, up to 30 s.
        """
        self.worker, self.successor = self.successor, None
        self.failed = True
        if worker is not None and worker.ready and now - worker.since >= STEADY:
            self.wait = 0.0
        delay = self.wait if worker is not None and worker.ready else max(self.wait, SHORTEST_WAIT)
        self.wait = min(max(2 * delay, SHORTEST_WAIT), LONGEST_WAIT)
        self.due = now + delay
        return delay


class Supervisor:
    """Keeps `count` workers alive.

    Args:
        launch: starts the process of the worker with this number.
        drain: seconds that a worker may take to drain.
        clock: monotonic seconds.
        serving: called once, when the first worker serves.
        unlisten: called once, at the end, to accept no more connections.
        present: a process that serves already, as the first worker; None if all workers have to be started.
        begun: called for each worker that begins to serve, with the time at which it was started.

    Attributes:
        exit_status: the supervisor's own; None while it is working.
    """

    def __init__(
        self,
        count: int,
        launch: Callable[[int], Process],
        *,
        drain: float,
        clock: Callable[[], float],
        serving: Callable[[], None],
        unlisten: Callable[[], None],
        present: Process | None = None,
        begun: Callable[[float], object] = lambda since: None,
    ) -> None:
        self.exit_status: int | None = None
        self._slots = [Slot(number) for number in range(1, count + 1)]
        self._launch = launch
        self._drain = drain
        self._clock = clock
        self._serving = serving
        self._unlisten = unlisten
        self._begun = begun
        self._has_served = present is not None
        if present is not None:
            first = self._slots[0].worker = Worker(1, present, clock())
            first.ready = True
        self._stopping = False
        self._cut_off = False
        # Workers that were started before this time are replaced one after the other; the slot whose turn it is.
        self._renew_before = float("-inf")
        self._renewing: Slot | None = None

    # Called for signals.

    def stop(self) -> None:
        """Let all workers drain. The second call ends them at once."""
        if self._stopping:
            logger.warning("second signal: ending at once")
            for worker in self._all():
                worker.process.send(signal.SIGKILL)
            self.exit_status = 1
            return
        self._stopping = True
        many = len(self._all())
        logger.info("draining: %d worker%s, at most %g s", many, "" if many == 1 else "s", self._drain)
        self._unlisten()
        for worker in self._all():
            self._dismiss(worker)

    def renew(self) -> None:
        """Replace all workers one after the other. A new worker serves before the old one is dismissed."""
        if self._stopping:
            return
        self._renew_before = self._clock()
        several = len(self._slots) > 1
        logger.info("renewing the workers, one after the other" if several else "a successor is started")

    def serving(self) -> list[int]:
        """The process ids of the workers that serve and are not to leave."""
        return [worker.process.pid for worker in self._all() if worker.ready and worker.until is None]

    # Called regularly.

    def tick(self) -> None:
        """Look at all workers and do what is due. Call it several times a second."""
        for slot in self._slots:
            for worker in slot.all():
                self._look_at(slot, worker)
        if self._stopping:
            if not self._all() and self.exit_status is None:
                self.exit_status = 1 if self._cut_off else 0
                logger.info("stopped")
            return
        if not self._has_served and not self._all() and all(slot.failed for slot in self._slots):
            logger.error("no worker could start")
            self.exit_status = 1
            return
        now = self._clock()
        for slot in self._slots:
            if slot.worker is None and now >= slot.due:
                slot.worker = self._start(slot)
                if slot.worker is None:
                    slot.free(None, now)
        self._continue_renewal()

    def _all(self) -> list[Worker]:
        return [worker for slot in self._slots for worker in slot.all()]

    def _start(self, slot: Slot) -> Worker | None:
        try:
            return Worker(slot.number, self._launch(slot.number), self._clock())
        except OSError as error:
            logger.error("worker %d cannot be started: %s", slot.number, error.strerror)
            return None

    def _dismiss(self, worker: Worker) -> None:
        if worker.until is None:
            worker.until = self._clock() + self._drain + GRACE
            worker.process.send(signal.SIGTERM)

    def _look_at(self, slot: Slot, worker: Worker) -> None:
        status = worker.process.status()
        if status is not None:
            worker.process.close()
            self._ended(slot, worker, status)
        elif worker.killed:
            pass
        elif worker.until is not None:
            if self._clock() >= worker.until:
                logger.warning("%s did not end in time and was killed", worker)
                self._cut_off = True
                self._kill(worker)
        else:
            if not worker.ready and worker.process.serves():
                worker.ready = True
                logger.info("%s serves", worker)
                self._begun(worker.since)
                if not self._has_served:
                    self._has_served = True
                    self._serving()
            self._check_heartbeat(worker)

    def _check_heartbeat(self, worker: Worker) -> None:
        now, heard = self._clock(), worker.process.heard()
        silence = now - (heard or worker.since)
        if silence <= (FROZEN if heard else START):
            # It may have been asked because the whole machine was suspended, and the supervisor resumed first.
            worker.asked = None
        elif worker.asked is None:
            worker.asked = now
            worker.process.ask()
        else:
            where = worker.process.where()
            if where or now - worker.asked >= ANSWER:
                where = where or worker.process.stack() or "unknown place"
                logger.error("%s did not respond for %.0f s and was killed: %s", worker, silence, where)
                self._kill(worker)

    def _kill(self, worker: Worker) -> None:
        worker.killed = True
        worker.process.send(signal.SIGKILL)

    def _ended(self, slot: Slot, worker: Worker, status: int) -> None:
        how = f"ended by {signal_name(-status)}" if status < 0 else f"ended with {status}"
        if worker in slot.leaving:
            slot.leaving.remove(worker)
            logger.info("%s %s", worker, how)
        elif worker is slot.successor:
            slot.successor = None
            self._renewing = None
            if self._renew_before <= worker.since:  # otherwise another signal has arrived meanwhile
                self._renew_before = float("-inf")
            if not self._stopping:
                logger.error("%s %s before it served: what serves now stays as it is", worker, how)
        else:
            delay = slot.free(worker, self._clock())
            if not self._stopping:
                logger.error("%s %s: the next one starts %s", worker, how, f"in {delay:g} s" if delay else "now")

    def _continue_renewal(self) -> None:
        slot = self._renewing
        if slot is None:
            old = [slot for slot in self._slots if slot.worker and slot.worker.since <= self._renew_before]
            if old:
                old[0].successor = self._start(old[0])
                if old[0].successor is not None:
                    self._renewing = old[0]
                else:
                    self._renew_before = float("-inf")
            elif self._renew_before > float("-inf"):
                self._renew_before = float("-inf")
                logger.info("all workers have been renewed" if len(self._slots) > 1 else "the successor has taken over")
        elif slot.successor is None:
            # Either the old worker ended first and the successor has its place, or the old worker is draining.
            if not slot.leaving:
                self._renewing = None
        elif slot.successor.ready:
            old_worker, slot.worker, slot.successor = slot.worker, slot.successor, None
            if old_worker is not None:
                slot.leaving.append(old_worker)
                self._dismiss(old_worker)


def signal_name(number: int) -> str:
    """`SIGKILL` for 9; `signal 99` for a number without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
