"""The workers of one node as one: each writes its snapshot to a file, and the worker that is asked merges all of them.

prometheus-client has a multiprocess mode of its own, which keeps each value in a mapped file of the process. Under
gevent an `inc` took 1.3 µs there, and 2.5 µs with labels, against 0.2 µs of `Metrics.count`. Each process that has
ended leaves two files of 1 MiB that every scrape reads: a scrape took 21 ms with one process, and 220 ms after 50. Here
a file belongs to a row of the scoreboard. There are never more files than rows, and a worker that takes over a row goes
on with its totals.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from fws.metrics.snapshot import LARGEST, Snapshot
from fws.workers.scoreboard import Row

logger = logging.getLogger("fws")


class Files:
    """The files of all rows, as one worker sees them.

    Args:
        folder: it belongs to the supervisor, and nobody else may write to it.
        row: the worker's own.
    """

    def __init__(self, folder: Path, row: Row) -> None:
        self._folder = folder
        self._row = row
        self._failed = False
        # What workers that had the row before have counted.
        self._earlier = Snapshot()
        earlier = self._read(row.number, lambda: None)
        if earlier is not None:
            self._earlier.merge(earlier, gauges=False)

    def continued(self, snapshot: Snapshot) -> Snapshot:
        """The worker's snapshot, with the totals of those that had its row before."""
        snapshot.merge(self._earlier)
        return snapshot

    def write(self, snapshot: Snapshot) -> None:
        """Replace the worker's file. A file that cannot be written is logged once."""
        path = self._path(self._row.number)
        new = path.with_suffix(".new")
        try:
            new.write_bytes(snapshot.encode())
            new.rename(path)
            self._failed = False
        except OSError as error:
            if not self._failed:
                logger.warning("the metrics of this worker cannot be written: %s: %s", path, error.strerror)
            self._failed = True

    def others(self, pause: Callable[[], object]) -> Snapshot:
        """What all other rows have. Only those of workers that live have gauges.

        Args:
            pause: called again and again; it may give others their turns.
        """
        merged = Snapshot()
        for row, lives in self._row.others:
            found = self._read(row, pause)
            if found is not None:
                merged.merge(found, gauges=lives, pause=pause)
        return merged

    def _read(self, row: int, pause: Callable[[], object]) -> Snapshot | None:
        try:
            with self._path(row).open("rb") as file:
                if os.fstat(file.fileno()).st_size <= LARGEST:
                    return Snapshot.decode(file.read(LARGEST), pause)
        except OSError:
            pass  # no worker has had the row yet
        except ValueError as error:
            logger.warning("the metrics of a worker cannot be read: %s: %s", self._path(row), error)
        return None

    def _path(self, row: int) -> Path:
        return self._folder / f"{row}.metrics"
