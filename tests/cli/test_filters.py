"""`fws filters` for people at a terminal and for programs that read a pipe."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fws.compiler.registry import Registry
from fws.reference.pages import filter_markdown, reference_markdown, settings_markdown
from tests.cli.command import Terminal, fws, fws_here

LOUD = '''
from typing import Annotated

from fws import Filter, Help


class Loud(Filter):
    """Say it [bold]louder[/bold] than anybody would expect of a filter with so long a summary as this.

    Example:
        message = ["loud"]
    """

    mark: Annotated[str, Help("Put [red]behind[/red] it.")] = "!"

    def message(self, client, message):
        return message + self.mark
'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "loud.py").write_text(LOUD)
    return tmp_path


def test_a_pipe_gets_one_whole_line_for_each_filter(project: Path) -> None:
    done = fws("filters", cwd=project, COLUMNS="40")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.split("\n")
    assert lines[0] == "Filters of this project"
    loud = next(line for line in lines if line.startswith("  loud "))
    assert loud.endswith(
        "Say it [bold]louder[/bold] than anybody would expect of a filter with so long a summary as this."
    )
    assert re.search(
        r"\n\nFilters that come with fws\n(.+\n)*  broadcast +message, publication, tick +Publish ", done.stdout
    )
    assert "\x1b" not in done.stdout


def test_a_terminal_wraps_inside_the_column_and_takes_nobodys_markup(project: Path) -> None:
    with Terminal("filters", cwd=project, columns=70) as terminal:
        assert terminal.end() == 0
    plain = re.sub(r"\x1b\[[\d;]*m", "", terminal.screen)
    assert "[bold]louder[/bold]" in plain
    assert max(len(line) for line in plain.split("\r\n")) <= 70
    assert "\x1b[36mloud" in terminal.screen


def test_the_folder_above_counts_too(project: Path) -> None:
    (project / "conf").mkdir()
    assert "  loud " in fws("filters", cwd=project / "conf").stdout
    assert "  loud " not in fws("filters", "--built-in", cwd=project).stdout


def test_one_filter_is_described_by_its_class(project: Path) -> None:
    done = fws("filters", "loud", cwd=project)
    assert done.returncode == 0
    assert "\nOptions, in the order of a stage's arguments:\n" in done.stdout
    assert done.stdout.endswith('  mark  text; default "!"\n        Put [red]behind[/red] it.\n')


def test_markdown_and_json(project: Path) -> None:
    echo = fws_here("filters", "--built-in", "echo", "--format", "markdown")
    assert echo.stdout == filter_markdown(Registry().find("echo")) + "\n"
    assert fws_here("filters", "--built-in", "--format", "markdown").stdout == reference_markdown(Registry())
    listed = json.loads(fws("filters", "--format", "json", cwd=project).stdout)
    assert listed[0] == json.loads(fws("filters", "loud", "--format", "json", cwd=project).stdout)
    assert (listed[0]["origin"], listed[-1]["origin"]) == ("project", "fws")


def test_settings_are_a_page() -> None:
    assert fws_here("filters", "--settings").stdout == settings_markdown()


def test_an_unknown_name_gets_the_nearest_as_a_hint() -> None:
    done = fws_here("filters", "--built-in", "rate_limt")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "fws: there is no filter 'rate_limt' (did you mean 'rate_limit'?)\n"


def test_a_module_that_does_not_import_hides_no_other(project: Path) -> None:
    (project / "pipelines" / "broken.py").write_text("import nothing_of_that_name\n")
    done = fws("filters", cwd=project)
    assert done.returncode == 0
    assert "  loud " in done.stdout
    assert done.stderr.startswith("fws: ")
    assert "broken.py cannot be imported: ModuleNotFoundError: No module named 'nothing_of_that_name'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert fws("filters", "broken", cwd=project).returncode == 1
