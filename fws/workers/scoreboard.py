"""The board: a few bytes of memory that the workers of one supervisor share, one row a worker.

Each worker writes its own row and reads the others'; the supervisor reads all. It answers two questions without a
message sent: whose loop still turns, and who has more connections than the others.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable

# A row is the time of the last beat in microseconds (0: none yet) and the connections (-1: takes none).
_FIELDS = 2
_ROW = _FIELDS * 8
# Seconds between the beats of a worker, and after how many without one the others no longer count on it.
BEAT = 1.0
LATE = 2.5
# A worker takes a connection at once unless it has so many more than the one with the fewest, or a tenth more.
SLACK = 4


class Board:
    """Rows in shared memory. A row has one writer, and a number of 8 bytes is written in one go.

    Args:
        fd: a file descriptor that the processes share; it may be closed afterwards.
        rows: how many there are.
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
        """Nobody has this row."""
        self._cells[row * _FIELDS] = 0
        self._cells[row * _FIELDS + 1] = -1

    def beat(self, row: int, connections: int | None) -> None:
        """The loop of this row's worker turns. None: it takes no connections, not yet or no more."""
        self._cells[row * _FIELDS] = int(self._clock() * 1e6)
        self._cells[row * _FIELDS + 1] = -1 if connections is None else connections

    def heard(self, row: int) -> float:
        """When the worker of this row gave its last beat; 0 before the first."""
        return self._cells[row * _FIELDS] / 1e6

    def serves(self, row: int) -> bool:
        """Whether the worker of this row takes connections."""
        return self._cells[row * _FIELDS + 1] >= 0

    def is_ahead(self, row: int, connections: int) -> bool:
        """Whether a worker with so many connections should leave the next one to another."""
        oldest = self._clock() - LATE
        others = (
            self._cells[other * _FIELDS + 1]
            for other in range(self.rows)
            if other != row and self.serves(other) and self.heard(other) > oldest
        )
        fewest = min(others, default=connections)
        return connections > fewest + max(SLACK, fewest // 10)


class Seat:
    """One worker's row."""

    __slots__ = ("_board", "_row")

    def __init__(self, board: Board, row: int) -> None:
        self._board = board
        self._row = row

    def beat(self, connections: int | None) -> None:
        """As `Board.beat`."""
        self._board.beat(self._row, connections)

    def is_ahead(self, connections: int) -> bool:
        """As `Board.is_ahead`."""
        return self._board.is_ahead(self._row, connections)
