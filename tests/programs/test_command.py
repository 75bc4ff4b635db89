from __future__ import annotations

import os
from pathlib import Path

import pytest

from fws.programs.command import Limits, find

NONE = Limits()


def program(folder: Path, name: str, mode: int = 0o755) -> Path:
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("#!/bin/sh\n")
    file.chmod(mode)
    return file


def words(text: str, folder: Path, *, shell: bool = False, limits: Limits = NONE) -> tuple[str, ...]:
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return find(text, folder, {"PATH": path}, shell=shell, limits=limits).words


def test_a_command_is_split_as_a_shell_does_and_never_read_by_one(tmp_path: Path) -> None:
    file = program(tmp_path, "bin/tool")
    given = words("""tool -c 'a b' "$HOME" * > x; {a: .b} {print}""", tmp_path)
    assert given == (str(file), "-c", "a b", "$HOME", "*", ">", "x;", "{a:", ".b}", "{print}")


def test_a_program_with_a_slash_is_relative_to_the_folder(tmp_path: Path) -> None:
    file = program(tmp_path, "tools/one")
    assert words("tools/one x", tmp_path) == (str(file), "x")
    assert words(f"{file} x", tmp_path) == (str(file), "x")
    command = find("tools/one", tmp_path, {}, shell=False, limits=NONE)
    assert (command.folder, command.name) == (str(tmp_path), "one")


def test_a_shell_reads_the_command_only_where_it_is_asked_for(tmp_path: Path) -> None:
    assert words("a | b 'c", tmp_path, shell=True) == ("/bin/sh", "-c", "a | b 'c")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nosuchprogram -x", "no program 'nosuchprogram' in PATH"),
        ("./missing", "there is no program .*missing"),
        ("./plain", "not executable: .*chmod"),
        (".", "no program"),
        ("a 'b", "cannot be split: no closing quotation"),
        ("", "empty"),
        ("'' a", "empty"),
        ("cat {client.id}", r"\{client.id\} is text in a command.*environment"),
        ("cat --room={params.room}", r"\{params.room\}"),
        ("a\0b", "NUL"),
    ],
)
def test_problems_say_what_would_be_right(text: str, problem: str, tmp_path: Path) -> None:
    program(tmp_path, "plain", 0o644)
    with pytest.raises(ValueError, match=problem):
        words(text, tmp_path)


def test_limits_are_set_by_prlimit_before_the_program_begins(tmp_path: Path) -> None:
    program(tmp_path, "bin/prlimit")
    file = program(tmp_path, "bin/tool")
    given = words("tool x", tmp_path, limits=Limits.parse("memory=1MiB, cpu=90s,files=64"))
    wanted = ("--as=1048576", "--cpu=90", "--nofile=64", "--")
    assert given == (str(tmp_path / "bin" / "prlimit"), *wanted, str(file), "x")


def test_limits_need_prlimit(tmp_path: Path) -> None:
    file = program(tmp_path, "bin/tool")
    with pytest.raises(ValueError, match="prlimit of util-linux"):
        find(str(file), tmp_path, {"PATH": str(tmp_path)}, shell=False, limits=Limits.parse("files=10"))


@pytest.mark.parametrize("text", ["memory", "memory=", "memory=much", "files=2", "files=x", "time=3s", "cpu=1s,cpu=2s"])
def test_wrong_limits(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Limits.parse(text)


def test_limits_are_shown_as_they_are_written() -> None:
    assert str(Limits.parse("files=64,memory=256MiB,cpu=10s")) == "memory=256MiB,cpu=10s,files=64"
    assert str(Limits.parse("")) == ""
