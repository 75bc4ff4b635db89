"""`fws try` from a pipe and at a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import Terminal, fws


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "app.toml").write_text('[pipelines]\nmessage = ["rate_limit 1/s", "echo"]\n')
    return tmp_path


def test_from_a_pipe_each_line_is_shown_with_what_it_caused(project: Path) -> None:
    done = fws("try", "app.toml", cwd=project, stdin="ann> connect /\nann> hi\nann> hi\n:quit\nann> no\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "ann> connect /\n"
        "ann> hi\n     message    rate_limit ✓ none left  echo ✓\nann< hi\n"
        "ann> hi\n     message    rate_limit ✗ drop none left  app.toml:2\n"
        ":quit\n"
    )


def test_a_broken_file(project: Path) -> None:
    (project / "app.toml").write_text('[pipelines]\nmessage = ["ecko"]\n')
    done = fws("try", "app.toml", cwd=project)
    assert done.returncode == 1
    assert "did you mean 'echo'" in done.stderr


def test_at_a_terminal_words_are_completed_and_the_end_of_input_ends(project: Path) -> None:
    with Terminal("try", "app.toml", cwd=project) as terminal:
        terminal.until("> ")
        terminal.type("ann> connect /\n")
        terminal.until("connect /")
        terminal.type(":cl\t")
        terminal.until(":cl")
        terminal.type("ock +1s\n")
        terminal.type("ann> hello\n")
        terminal.until("ann< hello\r\n> ")
        terminal.type("\x04")
        assert terminal.end() == 0
