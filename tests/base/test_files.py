"""Files that are read again when they change."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from fws.base.files import LOOK, FileWatch, stamp
from tests.support import Clock


class Watched:
    """A watched file, its contents as they were read, and the reasons of failures."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = Clock()
        self.read: list[str] = []
        self.reasons: list[str] = []
        self.error: Exception | None = None
        self._watch = FileWatch(path, self._load, self.reasons.append, self.clock)

    def _load(self) -> None:
        if self.error is not None:
            raise self.error
        self.read.append(self.path.read_text())

    def update(self, seconds: float = LOOK) -> None:
        self.clock.advance(seconds)
        self._watch.update()


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    path = tmp_path / "tokens"
    path.write_text("a")
    return Watched(path)


def test_a_change_is_read_once_and_within_a_second(watched: Watched) -> None:
    watched.update()
    watched.path.write_text("more")
    watched.update(0)
    assert watched.read == ["a"]
    watched.update()
    watched.update()
    assert watched.read == ["a", "more"]


def test_a_file_that_is_replaced_removed_and_restored(watched: Watched) -> None:
    watched.update()
    other = watched.path.with_name("other")
    other.write_text("b")
    os.utime(other, ns=(watched.path.stat().st_atime_ns, watched.path.stat().st_mtime_ns))
    other.replace(watched.path)
    watched.update()
    assert watched.read == ["a", "b"], "it has the same size and time, and another inode"
    watched.path.unlink()
    assert stamp(watched.path) is None
    for _ in range(3):
        watched.update()
    assert watched.reasons == ["No such file or directory"]
    watched.path.write_text("c")
    watched.update()
    assert watched.read == ["a", "b", "c"]


def test_a_file_that_could_not_be_read_is_tried_again(watched: Watched) -> None:
    """Fault: a key file that was read while no descriptor was left was not read again until it changed once more."""
    watched.error = OSError(errno.EMFILE, "Too many open files")
    for _ in range(3):
        watched.update()
    assert watched.reasons == ["Too many open files"]
    watched.error = None
    watched.update()
    assert watched.read == ["a"]


def test_an_invalid_file_is_reported_once_and_read_again_when_it_changes(watched: Watched) -> None:
    watched.error = ValueError("token 2 is invalid")
    for _ in range(3):
        watched.update()
    assert watched.reasons == ["token 2 is invalid"]
    watched.error = None
    watched.update()
    assert watched.read == [], "it has not changed"
    watched.path.write_text("valid")
    watched.update()
    assert watched.read == ["valid"]


def test_a_new_file_with_the_same_mistake_is_reported_again(watched: Watched) -> None:
    """Fault: whoever replaced a wrong file by another wrong one heard nothing."""
    watched.error = ValueError("line 1 is wrong")
    watched.update()
    watched.update()
    watched.path.write_text("another")
    watched.update()
    assert watched.reasons == ["line 1 is wrong", "line 1 is wrong"]


def test_a_file_that_another_one_refers_to_counts_as_well(tmp_path: Path) -> None:
    main, part, clock = tmp_path / "main", tmp_path / "part", Clock()
    main.write_text("part")
    part.write_text("a")
    read: list[str] = []
    found: list[Path] = []

    def load() -> None:
        found[:] = [tmp_path / main.read_text()]
        read.append(found[0].read_text())

    watch = FileWatch(main, load, read.append, clock, lambda: found)
    for text in ("a", "bb", "bb", "ccc"):
        part.write_text(text)
        for _ in range(2):
            clock.advance(LOOK)
            watch.update()
    assert list(dict.fromkeys(read)) == ["a", "bb", "ccc"]
