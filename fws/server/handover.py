"""The handover of a single process to its successor, without a moment in which nobody serves.

The process becomes the supervisor of one worker, which it starts with its own command line and which listens on the
same sockets. When the worker serves, the server in this process drains as a worker does that is renewed. The process
stays, because what started it knows it by its id: systemd, a container, a shell.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import gevent
from gevent import Greenlet, GreenletExit

from fws.live.control import SUFFIX, ControlServer
from fws.live.fleet import Fleet
from fws.live.reload import Requests
from fws.server.server import Server
from fws.workers.processes import Supervision

logger = logging.getLogger("fws")


class Former:
    """The server in this process, as its supervisor sees it. Implements `fws.workers.supervisor.Process`.

    Args:
        server: serves, and leaves its signals and sockets to others.
        leaving: called when it begins to drain.
        gone: called when it has drained. Nothing here keeps the server then.
    """

    def __init__(self, server: Server, leaving: Callable[[], object], gone: Callable[[], object]) -> None:
        self.pid = os.getpid()
        self._server: Server | None = server
        self._leaving = leaving
        self._gone = gone
        self._drain: Greenlet | None = None

    def __str__(self) -> str:
        return "in the supervisor itself"

    def status(self) -> int | None:
        drain = self._drain
        if drain is None or not drain.ready():
            return None
        return 0 if drain.successful() and not isinstance(drain.value, GreenletExit) else -signal.SIGKILL

    def heard(self) -> float:
        # The supervisor shares its event loop. If that is blocked, nobody asks.
        return time.monotonic()

    def serves(self) -> bool:
        return True

    def where(self) -> str:
        return ""

    def stack(self) -> str:
        return ""

    def ask(self) -> None:
        pass

    def send(self, number: int) -> None:
        if self._drain is None and self._server is not None:
            self._leaving()
            self._server.stop()
            self._drain = gevent.spawn(self._server.drain)
        elif number == signal.SIGKILL and self._drain is not None:
            self._drain.kill(block=False)

    def close(self) -> None:
        self._server = self._drain = None
        self._gone()


class Handover:
    """A server in this process, and the supervision of its successors.

    Args:
        server: serves.
        file: the configuration.
        control: answers for the server, and from the handover on for all workers.
        sockets: the folder for the control sockets of workers.
        fixed: the settings with which the sockets were opened, by name.
        replaced: called when reloads must be asked for elsewhere.

    Attributes:
        fleet: answers for all workers.

    Raises:
        OSError: there is no memory or no descriptor for it. Nothing has changed then.
    """

    def __init__(
        self,
        server: Server,
        file: str,
        control: ControlServer,
        sockets: Path,
        fixed: Mapping[str, str],
        replaced: Callable[[Requests], object],
    ) -> None:
        self._control = control
        self._sockets = sockets
        self._replaced = replaced
        self._earlier: list[Greenlet] = []
        self._reloads = self._own = server.reloads
        self._last = server.reloads.last
        self.fleet = Fleet(file, self._workers, server.generation.number)
        listener, admin = server.sockets()
        self._supervision = Supervision(
            listener,
            1,
            server.generation.config.server.drain,
            lambda: None,
            hung_up=lambda: gevent.spawn(self._reloads.ask),
            control=str(sockets),
            admin=admin,
            fixed=fixed,
            present=Former(server, self._leaves, self._is_gone),
            predecessor=self._predecessor,
            generation=lambda: self.fleet.generation,
            begun=self._begun,
        )
        self._row = self._supervision.seat()
        # In this order, because a signal that nobody handles would end the process.
        self._supervision.heed_signals()
        server.share(self._row, sockets)
        self._supervision.renew()

    def run(self) -> int:
        """Supervise until a signal. Returns the exit status."""
        return self._supervision.run()

    def _workers(self) -> list[Path]:
        return [self._sockets / f"{pid}{SUFFIX}" for pid in self._supervision.serving()]

    def _predecessor(self) -> str:
        """The control socket of the process that serves; empty if there is none."""
        pids = self._supervision.serving()
        if not pids:
            return ""
        return str(self._control.path if pids[-1] == os.getpid() else self._sockets / f"{pids[-1]}{SUFFIX}")

    def _begun(self, since: float) -> None:
        """A successor serves. What the former server has put in force meanwhile is to be in force there as well."""
        last = self._own.last
        if last is not None and last is not self._last and last.report.status == "done":
            self.fleet.reloaded()
        self._last = last
        self.fleet.begun(since)

    def _leaves(self) -> None:
        """The successor serves, or everything ends."""
        self._earlier = self._control.running()
        self._control.answer = self.fleet.answer
        self._reloads = self.fleet.reloads
        self._replaced(self._reloads)

    def _is_gone(self) -> None:
        self._supervision.free(self._row)
        # Views of the former server, such as a tap. They would show nothing any more.
        gevent.killall(self._earlier, block=False)
        self._earlier = []
        gevent.spawn(free_memory)


def free_memory() -> None:
    """Return the memory of what is not used any more to the system."""
    gc.unfreeze()
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):  # not the C library of GNU
        pass
