"""Secrets in a file with problems are not shown in quoted lines or messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from fws.base import problem
from fws.base.errors import ConfigError
from fws.compiler import compile as compiler
from fws.compiler import registry
from fws.compiler.compile import load_generation

SECRET = "s3cr3tOfTheChat"


def told(toml: str, folder: Path, project: str = "") -> str:
    """All problems of a file as they are printed."""
    file = folder / "test.toml"
    file.write_text(toml)
    if project:
        (folder / "pipelines").mkdir(exist_ok=True)
        (folder / "pipelines" / "token.py").write_text(project)
    with pytest.raises(ConfigError) as error:
        load_generation(file, environ={})
    return str(error.value)


MISTAKES = {
    "a misspelt filter": f'[pipelines]\nconnect = ["tokn {SECRET}"]',
    "a misspelt filter with a key": f'[pipelines]\nconnect = ["jwtt HS256 key={SECRET}"]',
    "a filter of no origin": f'[pipelines]\nconnect = ["nothere:token {SECRET}"]',
    "a name that is none": f'[pipelines]\nconnect = ["to-ken {SECRET}"]',
    "a misspelt table": f'[pipelines]\nconnect = ["tokens_tabl {SECRET}"]\n[filters.tokens_table]\nuse = "token"',
    "arguments of a table": f'[pipelines]\nconnect = ["tokens_table {SECRET}"]\n[filters.tokens_table]\nuse = "token"',
    "an unknown option": f'[pipelines]\nconnect = ["token {SECRET} nonsense=1"]',
    "too many arguments": f'[pipelines]\nconnect = ["jwt HS256 {SECRET} {SECRET}"]',
    "quotes that never close": f'[pipelines]\nconnect = ["token \'{SECRET}"]',
    "a value with an equals sign": f'[pipelines]\nconnect = ["token {SECRET}=="]',
    "a wrong event": f'[pipelines]\nmessage = ["token {SECRET}"]',
    "a table": f'[pipelines]\nconnect = ["t"]\n[filters.t]\nuse = "token"\ntokens = ["{SECRET}"]\nnonsense = 1',
}


@pytest.mark.parametrize("toml", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_does_not_show_a_secret(toml: str, tmp_path: Path) -> None:
    assert SECRET not in told(toml, tmp_path)


def test_a_name_that_two_origins_have_does_not_show_a_secret(tmp_path: Path) -> None:
    """Fault: the stage was not examined because its filter was ambiguous, and the line was quoted unchanged."""
    project = "from fws import Filter\nclass Token(Filter):\n    def connect(self, client): ...\n"
    shown = told(f'[pipelines]\nconnect = ["token {SECRET}"]', tmp_path, project)
    assert "2 filters are named 'token'" in shown
    assert SECRET not in shown


def test_the_wording_of_a_hint_does_not_decide_what_is_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault: the compiler found the intended filter in the text of its own hint."""

    def reworded(name: str) -> str:
        return f"perhaps {name}" if name else ""

    for module in (problem, compiler):
        monkeypatch.setattr(module, "suggestion", reworded)
    monkeypatch.setattr(registry, "did_you_mean", lambda word, known: "")
    shown = told(f'[pipelines]\nconnect = ["tokn {SECRET}"]', tmp_path)
    assert "there is no filter 'tokn'" in shown
    assert SECRET not in shown
    assert "*" * len(SECRET) in shown


def test_the_line_of_a_filter_without_secrets_is_shown(tmp_path: Path) -> None:
    assert "repli hello" in told('[pipelines]\nmessage = ["repli hello"]', tmp_path)
