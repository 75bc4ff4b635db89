"""Metrics and readiness of a process: what is measured all the time, and the answers at `/metrics` and `/readyz`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import gevent
from gevent.lock import RLock

from fws.compiler.generation import Generation
from fws.live.reload import Reloader
from fws.live.tallies import Tallies
from fws.metrics.collect import Sources, collect
from fws.metrics.files import Files
from fws.metrics.lag import Lag
from fws.metrics.snapshot import Snapshot
from fws.metrics.walk import Walk
from fws.runtime.scheduler import Budget, pause
from fws.server.node import Node
from fws.workers.heartbeat import Heartbeat
from fws.workers.scoreboard import Row

# Seconds between two files of a worker. This much of what it has counted is lost if it is killed.
WRITTEN = 1.0
# With very many stages or clients it is this many times the seconds that it takes to write one, at most `LONGEST`.
REST = 50
LONGEST = 10.0


class Site(Protocol):
    """The server, as it is monitored."""

    node: Node
    reloader: Reloader
    tallies: Tallies

    @property
    def generation(self) -> Generation:
        """The generation in force."""

    @property
    def connections(self) -> int | None:
        """The number of open connections; None while none are accepted."""

    @property
    def capacity(self) -> int:
        """The most connections."""

    @property
    def draining(self) -> bool:
        """Whether no new clients are accepted any more."""

    def clock(self) -> float:
        """Monotonic seconds."""

    def wall(self) -> float:
        """Unix time."""


class Monitor:
    """Measures one process, and sees all workers of a supervisor as one.

    Args:
        heartbeat: the connection to the supervisor; None for a process that is not a worker.
    """

    def __init__(self, server: Site, heartbeat: Heartbeat | None) -> None:
        # The library takes a while to load, which a server without `[admin] listen` does not pay.
        from fws.metrics.exposition import exposition

        self._exposition = exposition
        self._server = server
        node, clock = server.node, server.clock
        self._sources = Sources(
            node.context,
            node.hub,
            node.broker,
            node.history,
            stages=server.tallies.all,
            messages=server.tallies.messages,
            generation=lambda: server.generation,
            since=lambda: server.wall() - clock() + server.reloader.since,
            capacity=lambda: server.capacity,
        )
        self._lag = Lag(clock)
        self._walk = Walk(node.hub, node.history, node.presence, clock)
        self._row = heartbeat.row if heartbeat is not None else None
        self._files: Files | None = None
        if heartbeat is not None and heartbeat.control:
            self._files = Files(Path(heartbeat.control), heartbeat.row)
        # Only one greenlet at a time collects and writes, so that a file never goes back.
        self._turn = RLock()
        # Only one page at a time is made. A hundred that have their turns one after the other would hold up clients.
        self._making = RLock()
        self._greenlets: list[Any] = []

    def start(self) -> None:
        """Measure from now on."""
        self._greenlets.append(gevent.spawn(self._lag.run))
        if self._files is not None:
            self._greenlets.append(gevent.spawn(self._write_regularly))

    def share(self, row: Row, folder: Path) -> None:
        """Successors serve beside this process from now on, until it ends.

        Args:
            row: its row of the scoreboard that they share.
            folder: for the files of all.
        """
        self._row = row
        self._files = Files(folder, row)
        self._mine()  # so that each of the other workers can answer with it
        self._greenlets.append(gevent.spawn(self._write_regularly))

    def stop(self) -> None:
        """The process ends: leave its totals to the other workers."""
        gevent.killall(self._greenlets, block=False)
        if self._files is not None:
            self._mine()

    def page(self, accept: str) -> tuple[bytes, str]:
        """The metrics of all workers as text, and its type.

        What is shown has been written before, so that no total decreases when this worker is killed.

        Args:
            accept: the header `Accept` of the request.
        """
        with self._making:
            pause()  # a lock is handed on before sockets are polled
            snapshot, budget = self._mine(), Budget()
            budget.start()
            if self._files is not None:
                snapshot.merge(self._files.others(budget.spend))
            snapshot.add("fws_workers", len(self._serving()))
            return self._exposition(snapshot, accept, budget.spend)

    @property
    def others_serve(self) -> bool:
        """Whether other workers of the same supervisor accept connections."""
        return self._row is not None and bool(self._row.serving())

    def problem(self) -> str:
        """Why no new clients can be served: `starting`, `draining` or `full`; empty if they can.

        Workers accept connections from one socket. It is enough that one of them has room.
        """
        serving = self._serving()
        if serving:
            return "full" if min(serving) >= self._server.capacity else ""
        return "draining" if self._server.draining else "starting"

    def _serving(self) -> list[int]:
        """The connections of each worker that accepts them."""
        if self._row is not None:
            return self._row.serving()
        mine = self._server.connections
        return [] if mine is None else [mine]

    def _mine(self) -> Snapshot:
        with self._turn:
            snapshot = collect(self._sources, self._walk, self._lag)
            if self._files is not None:
                self._files.write(self._files.continued(snapshot))
            return snapshot

    def _write_regularly(self) -> None:
        pause = WRITTEN
        while True:
            gevent.sleep(pause)
            began = self._server.clock()
            self._mine()
            pause = min(max(WRITTEN, REST * (self._server.clock() - began)), LONGEST)
