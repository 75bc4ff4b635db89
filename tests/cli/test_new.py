"""`fws new`: the new project runs and passes its test, and existing files are not changed."""

from __future__ import annotations

import compileall
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fws.cli.new import project_files, summary, template_files, template_names
from tests.cli.command import ROOT, environment, fws, fws_here

TEMPLATES = ROOT / "fws" / "cli" / "templates"
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
    shutil.copytree(TEMPLATES / "hello", tmp_path / "hello", ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(tmp_path / "hello", quiet=1)
    assert (tmp_path / "hello" / "pipelines" / "__pycache__").is_dir()
    assert not [path for path, _ in template_files(tmp_path / "hello") if "__pycache__" in path]


@pytest.mark.parametrize("name", template_names()[1:])
def test_each_template_is_sound_and_its_tests_pass(name: str, tmp_path: Path) -> None:
    done = fws_here("new", tmp_path / name, "--template", name)
    assert (done.returncode, done.stderr) == (0, "")
    project = tmp_path / name
    assert {"README.md", "Procfile", "requirements.txt", "pytest.ini", "conf/app.toml"} < files(project)
    readme = (project / "README.md").read_text()
    assert len(readme.splitlines()) <= 40
    assert "    fws run conf/app.toml" in readme
    assert "## What to change first" in readme
    for folder in ("static", "programs"):
        # What the README and the configuration name is there.
        for found in re.findall(rf"{folder}/\w+\.\w+", readme + (project / "conf" / "app.toml").read_text()):
            assert (project / found).is_file()
    done = fws_here("check", project / "conf" / "app.toml")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{project / 'conf' / 'app.toml'}: ok\n", "")
    played = fws("test", "conf/app.toml", cwd=project)
    assert played.returncode == 0, played.stdout + played.stderr
    assert int(played.stdout.split()[-2]) >= 2


def test_help_lists_the_templates_with_what_each_is() -> None:
    shown = " ".join(fws_here("new", "--help").stdout.split())
    assert template_names() == ["hello", "api", "dashboard", "exec", "rooms"]
    for name in template_names():
        assert f"{name} {summary(name)}" in shown
    wrong = fws_here("new", "demo", "--template", "chat")
    assert wrong.returncode == 2
    assert "'chat' is not one of 'hello', 'api'" in wrong.stderr


def test_a_project_with_a_page_says_where_it_is(tmp_path: Path) -> None:
    assert "open http://localhost:9000/ in a browser" in fws_here("new", tmp_path, "--template", "rooms").stdout


def test_keys_are_generated_for_each_project() -> None:
    """Nobody can use a key that every reader of the template knows."""
    first, second = project_files("api"), project_files("api")
    keys = re.findall(rb"_KEY:-([0-9a-f]{64})}", first["conf/app.toml"])
    assert len(set(keys)) == 2
    assert b"export FWS_API_KEY=" + keys[0] in first["README.md"]
    assert not [key for key in keys if key in b"".join(second.values())]
    assert not [path for path, data in first.items() if b"GENERATED" in data]


def test_the_procfile_of_the_api_refuses_the_keys_of_the_file(tmp_path: Path) -> None:
    command = project_files("api")["Procfile"].decode().removeprefix("web: ")
    for given, missing in ({"JWT_KEY": "k"}, "FWS_API_KEY"), ({"FWS_API_KEY": "k"}, "JWT_KEY"):
        environ = {"PATH": os.environ["PATH"]} | given
        done = subprocess.run(
            ["sh", "-c", command], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=10
        )
        assert done.returncode != 0
        assert f"{missing}: must be set" in done.stderr
