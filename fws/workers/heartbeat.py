"""A worker's side of its supervision: its heartbeat, where it is stuck, and what it does when the supervisor dies.

A worker is a fresh process. The variable `FWS_WORKER` holds what it inherits from its supervisor: its number, and the
descriptors of the listening socket, the scoreboard, a pipe for reports to the supervisor, and a pipe that nobody writes
to and that ends when the supervisor does.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
from collections.abc import Mapping, MutableMapping
from typing import Any

import msgspec
from gevent import socket
from gevent.monkey import get_original

from fws.pipeline.traceback import whereabouts
from fws.workers.scoreboard import Row, Scoreboard

logger = logging.getLogger("fws")

VARIABLE = "FWS_WORKER"
# With this signal the supervisor asks where the worker is. Python's own handler answers even during an endless loop in
# a filter, and the handler of `faulthandler` answers even if C code blocks.
ASK = signal.SIGUSR1
ANSWER = b"where "
# If the supervisor is dead: seconds that the worker has to drain, and seconds until it ends in any case.
ORPHAN_DRAIN = 3.0
ORPHAN_END = 4.0


class Inheritance(msgspec.Struct, frozen=True):
    """A worker's number, its row of the scoreboard, its descriptors, and the folder for its control socket.

    `admin` is the descriptor of the listening socket of [admin]; None without one. `fixed` has the settings with which
    the supervisor opened its sockets, by name. `predecessor` is the control socket of the process that the worker
    takes over from; empty if there is none. `generation` is the number that its generation has.
    """

    number: int
    row: int
    rows: int
    listener: int
    scoreboard: int
    report: int
    life: int
    control: str
    admin: int | None = None
    fixed: dict[str, str] = {}
    predecessor: str = ""
    generation: int = 1


class Heartbeat:
    """The connection of one worker to its supervisor.

    Attributes:
        number: the number of the worker, from 1.
        row: its row of the scoreboard.
        control: the folder for its control socket; empty without one.
        fixed: settings that only a restart of the supervisor changes, by name, as it has read them.
        predecessor: the control socket of the process that it takes over from; empty if there is none.
        generation: the number of the generation with which it begins, so that all workers show the same.
        orphaned: whether the supervisor is dead. The worker then sends itself a SIGTERM.
    """

    __slots__ = ("_admin", "_listener", "control", "fixed", "generation", "number", "orphaned", "predecessor", "row")

    def __init__(self, inherited: Inheritance) -> None:
        self.number = inherited.number
        self.row = Row(Scoreboard(inherited.scoreboard, inherited.rows), inherited.row)
        self.control = inherited.control
        self.fixed = inherited.fixed
        self.predecessor = inherited.predecessor
        self.generation = inherited.generation
        self.orphaned = False
        self._listener = inherited.listener
        self._admin = inherited.admin
        os.close(inherited.scoreboard)
        # Processes that the worker starts must not inherit them, because the pipes would not end with their owners.
        for descriptor in (inherited.listener, inherited.report, inherited.life, inherited.admin):
            if descriptor is not None:
                os.set_inheritable(descriptor, False)
        self._answer(inherited.report)
        # SIGUSR2 is meant for the supervisor, but `pkill` sends it to all processes of the same name.
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        # A native thread also works while the event loop is blocked.
        get_original("_thread", "start_new_thread")(self._outlive, (inherited.life,))

    def listener(self) -> Any:
        """The listening socket that all workers share."""
        return socket.socket(fileno=self._listener)

    def admin(self) -> Any:
        """The listening socket of [admin], which all workers share; None without one."""
        return None if self._admin is None else socket.socket(fileno=self._admin)

    def compare(self, fixed: Mapping[str, str]) -> None:
        """Log which of these settings differ from those with which the supervisor has opened its sockets."""
        for name in (name for name, value in fixed.items() if self.fixed.get(name, value) != value):
            logger.warning("%s has changed in the file: this takes effect when the server is restarted", name)

    def _answer(self, report: int) -> None:
        def answer(number: int, frame: Any) -> None:
            text = whereabouts(frame).encode("utf-8", "backslashreplace").replace(b"\n", b" ")[:1000]
            try:
                os.write(report, ANSWER + text + b"\n")
            except OSError:
                pass

        os.set_blocking(report, False)
        signal.signal(ASK, answer)
        faulthandler.register(ASK, file=report, all_threads=False, chain=True)

    def _outlive(self, life: int) -> None:
        while os.read(life, 1):
            pass
        self.orphaned = True
        os.kill(os.getpid(), signal.SIGTERM)
        get_original("time", "sleep")(ORPHAN_END)
        os._exit(1)


def heartbeat_of(environ: MutableMapping[str, str]) -> Heartbeat | None:
    """The heartbeat of this process if it is a worker. Removes the variable from `environ`."""
    text = environ.pop(VARIABLE, None)
    return None if text is None else Heartbeat(msgspec.json.decode(text, type=Inheritance))
