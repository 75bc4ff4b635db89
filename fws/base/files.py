"""Files that are read again when they change."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

# Seconds between two looks at a file.
LOOK = 1.0

# What changes when a file is replaced or written to: time of modification, size and inode. None without a file.
Stamp = tuple[int, int, int] | None


def stamp(path: Path) -> Stamp:
    """The present stamp of a file; None if the file system does not show it."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


class FileWatch:
    """Says when a file has to be read again. It looks at the file once a second at most.

    Args:
        clock: monotonic seconds.
    """

    __slots__ = ("_clock", "_looked", "_path", "_read", "_stamp")

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._looked = float("-inf")
        self._read = False
        self._stamp: Stamp = None

    def changed(self) -> bool:
        """Whether the file differs from what it was at the last call that returned True. True for the first call."""
        now = self._clock()
        if now - self._looked < LOOK:
            return False
        self._looked = now
        before, self._stamp = self._stamp, stamp(self._path)
        if self._read and self._stamp == before:
            return False
        self._read = True
        return True

    def retry(self) -> None:
        """The file could not be read now, for a reason that its stamp may not show. The next look returns True."""
        self._read = False
