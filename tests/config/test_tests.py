"""`[[test]]` sections and files of tests: what is read, and where mistakes are."""

from __future__ import annotations

from pathlib import Path

import pytest

from fws.base.errors import ConfigError
from fws.config import load
from fws.config.tests import Transcript, configuration_of, transcripts_of

CONF = '[pipelines]\nmessage = ["echo"]\n'


def section(name: str, script: str = "ann> connect /") -> str:
    return f"[[test]]\nname = '{name}'\nscript = '''\n{script}\n'''\n"


def transcripts(folder: Path, own: str = "", beside: str | None = None) -> list[Transcript]:
    (folder / "app.toml").write_text(CONF + own)
    if beside is not None:
        (folder / "app_test.toml").write_text(beside)
    return transcripts_of(load(folder / "app.toml"))


def problems(folder: Path, own: str = "", beside: str | None = None) -> list[str]:
    """`FILE:LINE:COLUMN: message` of each problem."""
    with pytest.raises(ConfigError) as refused:
        transcripts(folder, own, beside)
    return [str(problem).split("\n")[0].replace(f"{folder}/", "") for problem in refused.value.problems]


def test_the_tests_of_a_file_come_before_those_beside_it_each_with_its_place(tmp_path: Path) -> None:
    found = transcripts(tmp_path, section("one") + section("two"), section("three", "# a comment\nann> connect /"))
    places = [(one.name, Path(one.place.file).name, one.place.line) for one in found]
    assert places == [("one", "app.toml", 4), ("two", "app.toml", 9), ("three", "app_test.toml", 2)]
    statement = found[2].statements[0]
    assert found[2].place_of(statement.line).text == "ann> connect /"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (section("t", "ann> connect /\n   dorp message"), ":7:4: 'dorp' is not an outcome"),
        ("[[test]]\nname = 't'\nscript = 'hello'\n", ":5:10: 'hello' is not a statement"),
        ('[[test]]\nname = "t"\nscript = "ann> connect /\\nhello"\n', ":5:27: 'hello' is not a statement"),
        (section("t", "# only a comment"), ":6:1: an empty transcript"),
        (section("t") + section("t"), ":9:8: another test is called 't' too"),
        (section("t") + "scrip = ''\n", ":8:1: unknown key 'scrip'"),
        (section("t") + "env = ['A']\n", ":8:7: expected table of text"),
        ("[[test]]\nname = 't'\n", ":3:3: [[test]] has no 'script'"),
        ("[test]\nname = 't'\n", ":3:2: expected tests"),
    ],
)
def test_mistakes_have_their_place(tmp_path: Path, text: str, expected: str) -> None:
    [problem] = problems(tmp_path, text)
    assert problem.startswith(f"app.toml{expected}")


def test_a_file_of_tests_has_nothing_else(tmp_path: Path) -> None:
    assert problems(tmp_path, beside="[server]\nlisten = ':1'\n" + section("t")) == [
        "app_test.toml:1:2: unknown key 'server'"
    ]


def test_the_mistakes_of_both_files_are_reported_at_once(tmp_path: Path) -> None:
    assert problems(tmp_path, section("t", "x"), section("u", "y")) == [
        "app.toml:6:1: 'x' is not a statement",
        "app_test.toml:4:1: 'y' is not a statement",
    ]


@pytest.mark.parametrize("message", ['{"a":""}', '{"a":"","b":"it\'s"}', '{"a":[{"b":""}, "c"]}', '"""', "${HOME} # x"])
def test_scripts_that_the_package_toml_misreads_are_read_as_they_are_written(tmp_path: Path, message: str) -> None:
    for own, beside in (
        (section("t", f"ann> connect /\nann> {message}"), None),
        ("", section("t", f"pub a {message}")),
    ):
        [transcript] = transcripts(tmp_path, own, beside)
        assert getattr(transcript.statements[-1], "message", None) == message


def test_a_configuration_may_end_in_test_itself(tmp_path: Path) -> None:
    """conf/load_test.toml without conf/load.toml is a configuration."""
    (tmp_path / "load_test.toml").touch()
    assert configuration_of(tmp_path / "load_test.toml") == tmp_path / "load_test.toml"
    (tmp_path / "load.toml").touch()
    assert configuration_of(tmp_path / "load_test.toml") == tmp_path / "load.toml"
