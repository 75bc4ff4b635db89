"""Files that are read again when they change."""

from __future__ import annotations

import os
from pathlib import Path

from fws.base.files import LOOK, FileWatch, stamp
from tests.support import Clock


def test_a_change_is_noticed_once_and_within_a_second(tmp_path: Path) -> None:
    path, clock = tmp_path / "tokens", Clock()
    path.write_text("a")
    watch = FileWatch(path, clock)
    assert watch.changed()
    path.write_text("more")
    assert not watch.changed()
    clock.advance(LOOK)
    assert watch.changed()
    clock.advance(LOOK)
    assert not watch.changed()


def test_a_file_that_is_replaced_removed_and_restored(tmp_path: Path) -> None:
    path, clock = tmp_path / "tokens", Clock()
    path.write_text("a")
    watch = FileWatch(path, clock)
    watch.changed()
    other = tmp_path / "other"
    other.write_text("b")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)
    clock.advance(LOOK)
    assert watch.changed(), "it has the same size and time, and another inode"
    path.unlink()
    clock.advance(LOOK)
    assert watch.changed()
    assert stamp(path) is None
    clock.advance(LOOK)
    assert not watch.changed()
    path.write_text("a")
    clock.advance(LOOK)
    assert watch.changed()


def test_a_file_that_could_not_be_read_is_tried_again(tmp_path: Path) -> None:
    """Fault: a key file that was read while no descriptor was left was not read again until it changed once more."""
    path, clock = tmp_path / "tokens", Clock()
    path.write_text("a")
    watch = FileWatch(path, clock)
    assert watch.changed()
    watch.retry()
    assert not watch.changed()
    clock.advance(LOOK)
    assert watch.changed()
