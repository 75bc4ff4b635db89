"""The modules of a project from generation to generation."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fws.compiler.modules import Modules


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "pipelines"
    folder.mkdir()
    (folder / "common.py").write_text("WORD = 'one'\n")
    (folder / "user.py").write_text(
        "from pipelines.common import WORD\n\ndef now():\n"
        "    from pipelines import common\n    return WORD, common.WORD\n"
    )
    (folder / "relative.py").write_text("from . import common\n\ndef word():\n    return common.WORD\n")
    (folder / "other.py").write_text("STATE = []\n")
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0].partition("@")[0] == "pipelines"]:
        del sys.modules[name]


def test_only_what_has_changed_and_what_imports_it_is_imported_again(folder: Path) -> None:
    first = Modules(folder)
    old = {name: first.load(name) for name in ("user", "relative", "other")}
    (folder / "common.py").write_text("WORD = 'two'\n")
    second = Modules(folder, first)
    new = {name: second.load(name) for name in ("user", "relative", "other")}
    assert new["other"] is old["other"], "its state lives on"
    assert new["user"].now() == ("two", "two"), "also an import inside a function means the same generation"
    assert new["relative"].word() == "two"
    assert old["user"].now() == ("one", "one"), "what still runs keeps its modules"
    assert old["relative"].word() == "one"
    assert second.differences(first) == ["common.py"]


def test_two_edits_within_a_second_that_have_the_same_size(folder: Path) -> None:
    """Fault: Python takes the compiled file of the first edit for that of the second."""
    modules = Modules(folder)
    assert modules.load("common").WORD == "one"
    for word in ("two", "six", "ten"):
        (folder / "common.py").write_text(f"WORD = '{word}'\n")
        modules = Modules(folder, modules)
        assert word == modules.load("common").WORD


def test_nothing_changed_is_the_same_package(folder: Path) -> None:
    first = Modules(folder)
    module = first.load("user")
    second = Modules(folder, first)
    assert second.same_as(first)
    assert second.load("user") is module


def test_a_module_is_added_and_removed(folder: Path) -> None:
    first = Modules(folder)
    first.load("other")
    (folder / "new.py").write_text("X = 1\n")
    (folder / "relative.py").unlink()
    second = Modules(folder, first)
    assert second.names() == ["common", "new", "other", "user"]
    assert second.load("new").X == 1
    assert second.differences(first) == ["new.py", "relative.py"]
    with pytest.raises(ModuleNotFoundError):
        second.load("relative")


def test_a_generation_that_failed_leaves_nothing_behind(folder: Path) -> None:
    first = Modules(folder)
    first.load("user")
    (folder / "user.py").write_text("WORD = 1 / 0\n")
    failed = Modules(folder, first)
    with pytest.raises(ZeroDivisionError):
        failed.load("user")
    failed.forget()
    assert not [name for name in sys.modules if name.startswith("pipelines@")]
    (folder / "user.py").write_text("WORD = 'mended'\n")
    assert Modules(folder, first).load("user").WORD == "mended"


def test_two_projects_in_one_process_take_turns(folder: Path, tmp_path: Path) -> None:
    """Fault: pytest collects several projects before it runs their tests, and one had the modules of another."""
    other = tmp_path / "second" / "pipelines"
    other.mkdir(parents=True)
    (other / "theirs.py").write_text("X = 2\n")
    first, second = Modules(folder), Modules(other)
    assert second.load("theirs").X == 2
    assert first.load("common").WORD == "one"
    first.forget()
    assert second.load("theirs").X == 2


def test_packages_inside_the_folder(folder: Path) -> None:
    (folder / "lib").mkdir()
    (folder / "lib" / "deep.py").write_text("X = 1\n")
    (folder / "top.py").write_text("from pipelines.lib.deep import X\n")
    first = Modules(folder)
    assert first.load("top").X == 1
    (folder / "lib" / "deep.py").write_text("X = 2\n")
    second = Modules(folder, first)
    assert second.load("top").X == 2
    assert first.load("top").X == 1
