"""`fws new`: the new project runs and passes its test, and existing files are not changed."""

from __future__ import annotations

import compileall
import shutil
import subprocess
import sys
from pathlib import Path

from fws.cli.new import template_files
from tests.cli.command import ROOT, environment, fws

TEMPLATE = ROOT / "fws" / "cli" / "template"
FILES = {
    "README.md",
    "Procfile",
    "pytest.ini",
    "requirements.txt",
    "conf/app.toml",
    "pipelines/hello.py",
    "tests/test_app.py",
}


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_new_project_is_sound_and_its_test_passes(tmp_path: Path) -> None:
    done = fws("new", "my demo", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\n    cd 'my demo' && fws run conf/app.toml --watch\n    fws connect localhost:9000\n" in done.stdout
    project = tmp_path / "my demo"
    assert files(project) == FILES
    assert fws("check", "conf/app.toml", cwd=project).stdout == "conf/app.toml: ok\n"
    tested = subprocess.run(
        [sys.executable, "-m", "pytest"], cwd=project, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "3 passed" in tested.stdout
    played = fws("test", "conf/app.toml", cwd=project)
    assert (played.returncode, played.stdout.splitlines()[-1]) == (0, "1 ok")


def test_an_empty_folder_will_do(tmp_path: Path) -> None:
    done = fws("new", ".", cwd=tmp_path)
    assert done.returncode == 0
    assert "\n    fws run conf/app.toml --watch\n" in done.stdout
    assert files(tmp_path) == FILES


def test_a_folder_with_anything_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "mine").touch()
    done = fws("new", "demo", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "fws: demo is not empty: name a new folder\n")
    assert files(tmp_path) == {"demo/mine"}


def test_an_existing_file_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "demo").touch()
    assert fws("new", "demo", cwd=tmp_path).stderr == "fws: demo is a file: name a new folder\n"
    below = fws("new", "demo/deep", cwd=tmp_path)
    assert (below.returncode, below.stderr) == (1, "fws: cannot make demo/deep: Not a directory\n")


def test_bytecode_from_an_installer_is_not_copied(tmp_path: Path) -> None:
    """`pip install` compiles the modules of the template in place."""
    shutil.copytree(TEMPLATE, tmp_path / "template", ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(tmp_path / "template", quiet=1)
    assert (tmp_path / "template" / "pipelines" / "__pycache__").is_dir()
    assert {path for path, _ in template_files(tmp_path / "template")} == FILES
