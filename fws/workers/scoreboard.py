"""The scoreboard: a few bytes of memory that the workers of one supervisor share, with one row for each worker.

Each worker writes its own row and reads the others. The supervisor reads all rows. The scoreboard answers two questions
without a message: which event loops are still running, and which workers have more connections than others.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable

# A row has the time of the last heartbeat in microseconds (0: none yet) and the connections (-1: accepts none).
_FIELDS = 2
_ROW = _FIELDS * 8
# Seconds between two heartbeats of a worker, and seconds without one after which others ignore its row.
BEAT = 1.0
LATE = 2.5
# A worker accepts a connection at once unless it has this many, or a tenth, more than the worker with the fewest.
SLACK = 4


class Scoreboard:
    """Rows in shared memory. A row has one writer, and a number of 8 bytes is written atomically.

    Args:
        fd: a file descriptor that the processes share. It may be closed afterwards.
        rows: the number of rows.
        clock: monotonic seconds, the same for all processes.
    """

    __slots__ = ("_cells", "_clock", "rows")

    def __init__(self, fd: int, rows: int, clock: Callable[[], float] = time.monotonic) -> None:
        if os.fstat(fd).st_size < rows * _ROW:
            os.ftruncate(fd, rows * _ROW)
        self.rows = rows
        self._cells = memoryview(mmap.mmap(fd, rows * _ROW)).cast("q")
        self._clock = clock

    def clear(self, row: int) -> None:
        """No worker has this row any more."""
        self._cells[row * _FIELDS] = 0
        self._cells[row * _FIELDS + 1] = -1

    def beat(self, row: int, connections: int | None) -> None:
        """The event loop of the worker is running. `connections` is None if it does not accept any."""
        self._cells[row * _FIELDS] = int(self._clock() * 1e6)
        self._cells[row * _FIELDS + 1] = -1 if connections is None else connections

    def heard(self, row: int) -> float:
        """When the worker had its last heartbeat; 0 before the first."""
        return self._cells[row * _FIELDS] / 1e6

    def serves(self, row: int) -> bool:
        """Whether the worker accepts connections."""
        return self._cells[row * _FIELDS + 1] >= 0

    def lives(self, row: int) -> bool:
        """Whether the worker had its last heartbeat lately."""
        return self.heard(row) > self._clock() - LATE

    def serving(self) -> list[int]:
        """The connections of each worker that lives and accepts them."""
        return [self._cells[row * _FIELDS + 1] for row in range(self.rows) if self.serves(row) and self.lives(row)]

    def is_ahead(self, row: int, connections: int) -> bool:
        """Whether a worker with this many connections should leave the next one to another."""
        others = (
            self._cells[other * _FIELDS + 1]
            for other in range(self.rows)
            if other != row and self.serves(other) and self.lives(other)
        )
        fewest = min(others, default=connections)
        return connections > fewest + max(SLACK, fewest // 10)


class Row:
    """The row of one worker."""

    __slots__ = ("_row", "_scoreboard")

    def __init__(self, scoreboard: Scoreboard, row: int) -> None:
        self._scoreboard = scoreboard
        self._row = row

    @property
    def number(self) -> int:
        """Which row it is, from 0."""
        return self._row

    @property
    def others(self) -> list[tuple[int, bool]]:
        """The numbers of all other rows, and whether each has a worker that lives."""
        board = self._scoreboard
        return [(row, board.lives(row)) for row in range(board.rows) if row != self._row]

    def serving(self) -> list[int]:
        """As `Scoreboard.serving`."""
        return self._scoreboard.serving()

    def beat(self, connections: int | None) -> None:
        """As `Scoreboard.beat`."""
        self._scoreboard.beat(self._row, connections)

    def is_ahead(self, connections: int) -> bool:
        """As `Scoreboard.is_ahead`."""
        return self._scoreboard.is_ahead(self._row, connections)
