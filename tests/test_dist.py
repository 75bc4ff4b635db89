"""The source distribution and the wheel are complete, and work in an empty environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path, **environ: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environ
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the source distribution, and of the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


def test_the_source_distribution_has_all_files_of_git(built: Path) -> None:
    """Fault: it had the tests of one folder without the modules that they import, and no documentation."""
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    wanted = {name for name in tracked if not name.startswith((".ci/", ".gitignore"))}
    assert wanted - names == set()
    assert not [name for name in names if name.endswith((".so", ".pyc"))]


def test_the_tests_of_the_source_distribution_run(built: Path, tmp_path: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    run(sys.executable, "-m", "pytest", "--collect-only", "-q", cwd=folder, PYTHONPATH=str(folder))
    run(sys.executable, "-m", "pytest", "-q", "tests/base", cwd=folder, PYTHONPATH=str(folder))


def test_the_wheel_has_all_files_of_the_templates(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    command = ["git", "ls-files", "fws/cli/templates"]
    tracked = set(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())
    assert {path.split("/")[3] for path in tracked} == {"_shared", "hello", "api", "dashboard", "exec", "rooms"}
    assert tracked - names == set()
    page = {f"fws/server/page/{name}" for name in ("index.html", "page.css", "page.js")}
    assert page - names == set()


def test_the_wheel_serves_in_an_empty_environment(built: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", next(built.glob("*.whl")), cwd=tmp_path)
    fws = environment / "bin" / "fws"
    assert run(fws, "--version", cwd=tmp_path).startswith("fws ")
    run(fws, "new", "demo", cwd=tmp_path)
    assert "ok" in run(fws, "check", "conf/app.toml", cwd=tmp_path / "demo")
    assert "hello" in run(fws, "filters", cwd=tmp_path / "demo")
    run(fws, "new", "live", "--template", "dashboard", cwd=tmp_path)
    assert "2 ok" in run(fws, "test", "conf/app.toml", cwd=tmp_path / "live")


def test_a_package_index_shows_no_link_that_leads_nowhere(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        text = wheel.read(name).decode()
    assert re.findall(r"\]\((?!https?:)[^)]*\)", text) == []
    assert "`docs/configuration.md`" in text
