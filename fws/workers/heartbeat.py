"""The pulse of a worker: how its supervisor knows that it lives and where it is stuck, and how it learns that the
supervisor is dead.

A worker is a fresh process. What it has of its supervisor stands in the variable `FWS_WORKER`: its number, and the
descriptors of the listening socket, of the board, of a pipe for what it reports, and of one that nobody writes to and
that ends with the supervisor.
"""

from __future__ import annotations

import faulthandler
import os
import signal
from collections.abc import MutableMapping
from typing import Any

import msgspec
from gevent import socket
from gevent.monkey import get_original

from fws.pipeline.traceback import whereabouts
from fws.workers.scoreboard import Board, Seat

VARIABLE = "FWS_WORKER"
# The supervisor asks with this signal where the worker is. What answers is Python's own handler, which a filter's
# endless loop cannot keep from running, and `faulthandler`'s, which C code cannot.
ASK = signal.SIGUSR1
ANSWER = b"where "
# Seconds that a worker has to let its clients go when its supervisor is dead, and until it ends anyhow.
ORPHAN_DRAIN = 3.0
ORPHAN_END = 4.0


class Place(msgspec.Struct, frozen=True):
    """A worker's number, its row of the board, and its descriptors, as they stand in `FWS_WORKER`."""

    number: int
    row: int
    rows: int
    listener: int
    board: int
    report: int
    life: int


class Pulse:
    """One worker's side.

    Attributes:
        number: of the worker, from 1.
        seat: its row of the board.
        orphaned: whether the supervisor is dead; the worker then gets a SIGTERM from itself.
    """

    __slots__ = ("_listener", "number", "orphaned", "seat")

    def __init__(self, place: Place) -> None:
        self.number = place.number
        self.seat = Seat(Board(place.board, place.rows), place.row)
        self.orphaned = False
        self._listener = place.listener
        os.close(place.board)
        # What the worker itself starts must not have them: the pipes would not end with their owners.
        for descriptor in (place.listener, place.report, place.life):
            os.set_inheritable(descriptor, False)
        self._answer(place.report)
        # It is meant for the supervisor, and sent to all of the same name by some.
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        # A thread of the system's: it does its work when the loop is stuck, too.
        get_original("_thread", "start_new_thread")(self._outlive, (place.life,))

    def listener(self) -> Any:
        """The listening socket that all workers share."""
        return socket.socket(fileno=self._listener)

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


def pulse_of(environ: MutableMapping[str, str]) -> Pulse | None:
    """The pulse of this process, when it is a worker. Takes the variable out of `environ`."""
    text = environ.pop(VARIABLE, None)
    return None if text is None else Pulse(msgspec.json.decode(text, type=Place))
