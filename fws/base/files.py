"""Files that are read again when they change."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
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
    """Reads a file again when it has changed. It looks at the file once a second at most.

    Args:
        load: reads the file. Raises OSError or ValueError.
        failed: called with the reason if the file cannot be read, but only once for the same file and reason.
        clock: monotonic seconds.
        also: the files, known after a load, that the file refers to. A change of one of them counts as well.
    """

    __slots__ = ("_also", "_clock", "_failed", "_load", "_looked", "_path", "_read", "_reason", "_stamps")

    def __init__(
        self,
        path: Path,
        load: Callable[[], object],
        failed: Callable[[str], object],
        clock: Callable[[], float],
        also: Callable[[], Iterable[Path]] = tuple,
    ) -> None:
        self._path = path
        self._load = load
        self._failed = failed
        self._clock = clock
        self._also = also
        self._looked = float("-inf")
        self._read = False
        self._stamps: list[Stamp] = []
        self._reason = ""

    def update(self) -> None:
        """Read the file if it has changed since the last call. The first call always reads it."""
        now = self._clock()
        if now - self._looked < LOOK:
            return
        self._looked = now
        before, self._stamps = self._stamps, [stamp(self._path), *map(stamp, self._also())]
        if self._read and self._stamps == before:
            return
        self._read = True
        reason = ""
        try:
            self._load()
        except OSError as error:
            # The stamp does not show every reason, such as a lack of descriptors. The next look tries again.
            self._read = False
            reason = error.strerror or str(error)
        except ValueError as error:
            reason = str(error)
        if reason and (reason != self._reason or self._stamps != before):
            self._failed(reason)
        self._reason = reason
