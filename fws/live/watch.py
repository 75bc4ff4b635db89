"""Which files a server was made of, and whether they have changed.

Files are compared by `stat` and content, and not with inotify: editors that rename, symbolic links that a ConfigMap
swaps, and exhausted watches would all be missed by it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from fws.config import beside

# Seconds between two looks, and seconds after a change for which files must stay the same: an editor may write several.
EVERY = 0.5
SETTLE = 0.1

# Device, inode, size and time of a change; None for a file that is not there.
_Stamp = tuple[int, int, int, int] | None


class Watch:
    """The files of one configuration: itself, its tests, and the modules of its project.

    Args:
        conf: the TOML file.
        folder: the project's `pipelines/`; None without one.
    """

    def __init__(self, conf: Path, folder: Path | None) -> None:
        self._conf = conf
        self._folder = folder
        self._stamps: dict[Path, _Stamp] = {}
        self._contents: dict[Path, str] = {}
        self.look()

    def look(self) -> list[str]:
        """The files whose content has changed since the last look, each with what has happened to it."""
        found = {path: _stamp(path) for path in self._files()}
        suspects = [path for path in found if found[path] != self._stamps.get(path)]
        gone = [path for path in self._stamps if path not in found]
        changes = []
        for path in suspects:
            before, content = self._contents.get(path), _content(path)
            self._contents[path] = content
            if content != before:
                what = "is gone" if not content else "is new" if not before else "has changed"
                changes.append(f"{self._shown(path)} {what}")
        for path in gone:
            if self._contents.pop(path, ""):
                changes.append(f"{self._shown(path)} is gone")
        self._stamps = found
        return changes

    def _files(self) -> Iterable[Path]:
        yield self._conf
        yield beside(self._conf)
        if self._folder is not None:
            yield from sorted(self._folder.rglob("*.py"))

    def _shown(self, path: Path) -> str:
        return os.path.relpath(path)


def _stamp(path: Path) -> _Stamp:
    """What `stat` says of the file to which symbolic links lead."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _content(path: Path) -> str:
    """A fingerprint of the file's content; empty if it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
