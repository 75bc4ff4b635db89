"""pytest collects transcripts in any project, and costs nothing where there are none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import environment

pytestmark = pytest.mark.process

CONF = '[pipelines]\nmessage = ["echo"]\n'


def transcript(name: str, answer: str) -> str:
    return f"[[test]]\nname = \"{name}\"\nscript = '''\nann> connect /\nann> a\nann< {answer}\n'''\n"


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_each_transcript_is_a_test_and_failures_are_explained_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "app.toml").write_text(CONF + transcript("one", "a"))
    (tmp_path / "app_test.toml").write_text(transcript("two", "b") + transcript("three", "a"))
    output = run(tmp_path, "-v")
    assert "app.toml::one PASSED" in output
    assert "app_test.toml::two FAILED" in output
    assert "app_test.toml::three PASSED" in output
    assert "1 failed, 2 passed" in output
    assert "expected ann to receive b" in output
    assert "by       * message/echo" in output
    assert "Traceback" not in output


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[[test]]\nname = 1\n")
    (tmp_path / "other.toml").write_text("[test]\nx = 1\n")
    # Other programs have `[[test]]` too. Their files were errors of the collection.
    (tmp_path / "foreign.toml").write_text("[[test]]\nname = 1\n")
    (tmp_path / "foreign_test.toml").write_text("[[test]]\nbroken = = \n")
    (tmp_path / "latin.toml").write_bytes(b"\xff\xfe[broken")
    (tmp_path / "test_x.py").write_text(
        "import sys\ndef test_x():\n    assert 'gevent' not in sys.modules and 'fws.testing' not in sys.modules\n"
    )
    assert "1 passed" in run(tmp_path)


def test_a_file_of_tests_whose_configuration_is_missing_is_an_error(tmp_path: Path) -> None:
    """A renamed configuration must not turn its tests off."""
    (tmp_path / "app_test.toml").write_text(transcript("one", "a"))
    output = run(tmp_path)
    assert "neither [pipelines] nor [endpoints]" in output
    assert "1 failed" in output


def test_the_tests_of_one_file_are_shared_among_processes(tmp_path: Path) -> None:
    (tmp_path / "app.toml").write_text(CONF + "".join(transcript(f"number {number}", "a") for number in range(6)))
    (tmp_path / "app_test.toml").write_text(transcript("beside", "a"))
    assert "7 passed" in run(tmp_path, "-n", "2")


def test_a_file_with_problems_is_an_error_of_the_collection(tmp_path: Path) -> None:
    (tmp_path / "app.toml").write_text('[pipelines]\nmessage = ["ecko"]\n' + transcript("one", "a"))
    output = run(tmp_path)
    assert "did you mean 'echo'" in output
    (tmp_path / "app.toml").write_text(CONF + "[[test]]\nname = 'x'\nscript = 'hello'\n")
    output = run(tmp_path)
    assert "is not a statement" in output
    assert "1 error" in output
