"""`fws graph` as a user calls it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import ROOT, fws


@pytest.mark.parametrize(
    ("form", "begin"), [("text", "every path"), ("mermaid", "flowchart"), ("dot", "digraph"), ("svg", "<svg")]
)
def test_each_format(form: str, begin: str) -> None:
    done = fws("graph", "conf/chat.toml", "--format", form, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(begin)


def test_a_broken_file_has_its_problems(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[pipelines]\nmessage = ["ecko"]')
    done = fws("graph", "a.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (78, "")
    assert "did you mean 'echo'" in done.stderr
