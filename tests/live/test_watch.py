"""Which changes of files are noticed, however they are made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fws.live.watch import Watch


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.toml").write_text("a")
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "one.py").write_text("x")
    return tmp_path


def watch(project: Path) -> Watch:
    return Watch(project / "app.toml", project / "pipelines")


def test_each_change_has_a_line(project: Path) -> None:
    files = watch(project)
    assert files.look() == []
    (project / "app.toml").write_text("b")
    (project / "app_test.toml").write_text("t")
    (project / "pipelines" / "two.py").write_text("y")
    (project / "pipelines" / "one.py").unlink()
    assert sorted(files.look()) == [
        "app.toml has changed",
        "app_test.toml is new",
        "pipelines/one.py is gone",
        "pipelines/two.py is new",
    ]
    assert files.look() == []


def test_a_file_that_was_only_touched_has_not_changed(project: Path) -> None:
    files = watch(project)
    os.utime(project / "app.toml", ns=(1, 1))
    assert files.look() == []


def test_an_editor_that_writes_a_new_file_and_renames_it(project: Path) -> None:
    files = watch(project)
    (project / "app.toml").rename(project / "app.toml~")
    (project / "new").write_text("b")
    (project / "new").rename(project / "app.toml")
    assert files.look() == ["app.toml has changed"]


def test_a_file_that_is_missing_for_a_moment(project: Path) -> None:
    files = watch(project)
    (project / "app.toml").unlink()
    assert files.look() == ["app.toml is gone"]
    (project / "app.toml").write_text("c")
    assert files.look() == ["app.toml is new"]


def test_a_configmap_swaps_the_folder_behind_symbolic_links(project: Path) -> None:
    """Kubernetes mounts `app.toml -> ..data/app.toml` and `..data -> ..2026_1`, and renames a new `..data` over it."""
    for name in ("1", "2"):
        (project / f"..{name}").mkdir()
        (project / f"..{name}" / "app.toml").write_text(f"version {name}")
    (project / "..data").symlink_to("..1")
    (project / "app.toml").unlink()
    (project / "app.toml").symlink_to("..data/app.toml")
    files = watch(project)
    (project / "..next").symlink_to("..2")
    (project / "..next").rename(project / "..data")
    assert files.look() == ["app.toml has changed"]


def test_a_file_of_the_same_size_and_time(project: Path) -> None:
    files = watch(project)
    before = (project / "app.toml").stat()
    (project / "new").write_text("z")
    os.utime(project / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    (project / "new").rename(project / "app.toml")
    assert files.look() == ["app.toml has changed"]
