"""`fws check`: all problems of all files, the pipelines, and an exit status for scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import ROOT, fws, fws_here

SOUND = """
[pipelines]
message = ["rate_limit 20/s burst=40", "guarded"]

[endpoints."/chat/{room}"]
connect = ["join {room}"]

[chains]
guarded = ["max_message 4KiB", "echo"]
"""
WRONG = """
[limits]
ping_interval = "soon"

[pipelines]
message = ["ecko", "max_message 4XB"]
mesage = []
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sound.toml").write_text(SOUND)
    (tmp_path / "wrong.toml").write_text(WRONG)
    return tmp_path


def test_sound_files_exit_with_0(folder: Path) -> None:
    done = fws_here("check", "sound.toml", ROOT / "conf" / "echo.toml")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"sound.toml: ok\n{ROOT / 'conf' / 'echo.toml'}: ok\n"


def test_every_problem_is_shown_with_its_place(folder: Path) -> None:
    done = fws_here("check", "wrong.toml")
    assert done.returncode == 1
    places = [line.split(": ")[0] for line in done.stdout.split("\n") if line.startswith("wrong.toml:")]
    assert places == ["wrong.toml:3:17", "wrong.toml:6:12", "wrong.toml:6:33", "wrong.toml:7:1"]
    assert "did you mean 'echo'?" in done.stdout
    assert done.stdout.endswith("\n4 problems\n")
    assert "Traceback" not in done.stderr


def test_one_wrong_file_fails_the_lot_and_hides_no_other(folder: Path) -> None:
    done = fws_here("check", "wrong.toml", "missing.toml", "sound.toml")
    assert done.returncode == 1
    assert "wrong.toml:3:17" in done.stdout
    assert "missing.toml: " in done.stdout
    assert done.stdout.endswith("sound.toml: ok\n")


def test_verbose_shows_all_filters_and_options(folder: Path) -> None:
    lines = fws_here("check", "-v", "sound.toml").stdout.split("\n")
    paths = [line for line in lines if line.startswith("  ") and line[2] != " "]
    assert paths == ["  /chat/{room}", "  every other path"]
    # The endpoint has its own connect and inherits message; the chain is resolved to its filters.
    assert lines.count("      join {room}") == 1
    assert lines.count("      echo") == 2
    shown = '        rate="20/s" burst=40 by="client" on_excess="drop" store="own" away="own" key="limit"'
    assert shown in lines
    assert '        channel="{room}"' in lines


def test_verbose_shows_the_filters_of_branches(folder: Path) -> None:
    (folder / "branches.toml").write_text(
        '[pipelines]\nmessage = ["json", "by_type"]\n[filters.by_type]\nuse = "switch"\nkey = "type"\n'
        'case.chat = ["broadcast lobby"]\ndefault = ["drop"]\n'
    )
    lines = fws_here("check", "-v", "branches.toml").stdout.split("\n")
    start = lines.index("        case.chat")
    assert lines[start + 1 : start + 3] == ["          broadcast lobby", '            channel="lobby" to="all"']
    assert lines[start + 3 :][:2] == ["        default", "          drop"]


def test_a_warning_is_shown_and_does_not_fail(folder: Path) -> None:
    (folder / "open.toml").write_text('[server]\norigins = ["*"]\n' + SOUND)
    done = fws_here("check", "open.toml")
    assert done.returncode == 0
    assert done.stdout.startswith("open.toml:2:11: warning: every web page may connect\n")
    assert done.stdout.endswith("open.toml: ok\n")


def test_a_variable_without_value_is_a_problem(folder: Path) -> None:
    (folder / "variable.toml").write_text('[server]\nlisten = "${WHERE_TO}"\n' + SOUND)
    assert "the variable WHERE_TO is not set" in fws_here("check", "variable.toml").stdout
    assert fws("check", "variable.toml", cwd=folder, WHERE_TO="127.0.0.1:0").returncode == 0


def test_channel_says_which_pattern_applies(tmp_path: Path) -> None:
    file = tmp_path / "app.toml"
    text = '[pipelines]\nmessage = ["echo"]\n[channels."chat:{room}"]\nhistory = 5\n[channels."*"]\nhistory = 1\n'
    file.write_text(text)
    done = fws("check", "-v", "--channel", "chat:tea", "--channel", "a{b}", "--channel", "a?", str(file))
    assert done.returncode == 0
    assert '  channels chat:{room}\n    history=5 history_age="1d"' in done.stdout
    assert '  chat:tea matches [channels."chat:{room}"], room = tea\n    history=5 ' in done.stdout
    assert "  a{b} matches no pattern of [channels]" in done.stdout
    assert "  'a?': the name of a channel can have" in done.stdout


def test_patterns_of_which_neither_is_more_specific_are_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "app.toml"
    file.write_text('[pipelines]\nmessage = ["echo"]\n[channels."a:{x}"]\n[channels."{x}:b"]\n[channels."a*b"]\n')
    done = fws("check", str(file))
    assert done.returncode == 1
    assert 'app.toml:4:11: some names match this and "a:{x}", and neither is more specific' in done.stdout
    assert "app.toml:5:11: * stands at the end only" in done.stdout
