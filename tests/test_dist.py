"""The source distribution and the wheels are complete, and work in an empty environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
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
    """The folder of the source distribution, and of the two wheels that were built from it."""
    folder = tmp_path_factory.mktemp("dist")
    build = (sys.executable, "-m", "build", "--no-isolation", "--outdir", folder)
    run(*build, ROOT, cwd=folder)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder / "source", filter="data")
    (source,) = (folder / "source").iterdir()
    run(*build, "--wheel", source, cwd=folder, FWS_PURE_WHEEL="1")
    return folder


def wheel_of(folder: Path, kind: str) -> Path:
    """The wheel with compiled functions, or the one for every system ("pure")."""
    (pure,) = folder.glob("*-py3-none-any.whl")
    (compiled,) = (path for path in folder.glob("*.whl") if path != pure)
    return pure if kind == "pure" else compiled


@pytest.fixture(params=["compiled", "pure"])
def wheel(request: pytest.FixtureRequest, built: Path) -> Path:
    return wheel_of(built, request.param)


def names_of(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def metadata_of(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return archive.read(name).decode()


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


def test_the_wheels_have_all_files_of_the_package(wheel: Path) -> None:
    """What is not Python as well: templates, pages, py.typed. The source of the compiled functions is no use there."""
    command = ["git", "ls-files", "fws"]
    tracked = set(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())
    names = names_of(wheel)
    assert "fws/py.typed" in tracked
    assert tracked - names == {"fws/_native.c"}
    added = {name for name in names - tracked if ".dist-info/" not in name}
    assert {name.partition(".")[0] for name in added} == (set() if "none-any" in wheel.name else {"fws/_native"})
    assert any(name.endswith("/LICENSE") for name in names)


def test_a_package_index_knows_what_it_is(wheel: Path) -> None:
    told = metadata_of(wheel)
    assert re.search(r"^License(-Expression)?: MIT$", told, re.MULTILINE)
    assert "Requires-Python: >=3.11" in told
    assert "Classifier: Typing :: Typed" in told
    assert "Provides-Extra: otel" in told


@pytest.fixture(scope="module")
def environment(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that had nothing in it, and now has the compiled wheel."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, with_pip=True)
    install(environment, wheel_of(built, "compiled"))
    return environment


def install(environment: Path, wheel: Path, *options: str) -> None:
    run(environment / "bin" / "python", "-m", "pip", "install", "--quiet", *options, wheel, cwd=environment)


def test_the_wheel_works_in_an_empty_environment(environment: Path, tmp_path: Path) -> None:
    fws = environment / "bin" / "fws"
    assert run(fws, "--version", cwd=tmp_path).startswith("fws ")
    run(fws, "new", "demo", cwd=tmp_path)
    assert "ok" in run(fws, "check", "conf/app.toml", cwd=tmp_path / "demo")
    assert "hello" in run(fws, "filters", cwd=tmp_path / "demo")
    run(fws, "new", "live", "--template", "dashboard", cwd=tmp_path)
    assert "2 ok" in run(fws, "test", "conf/app.toml", cwd=tmp_path / "live")


TYPED = """
from fws import Filter
class Shout(Filter):
    mark: str = "!"
Shout(mark=1)
"""


def test_a_filter_of_a_user_is_checked_against_the_types_of_the_wheel(environment: Path, tmp_path: Path) -> None:
    (tmp_path / "shout.py").write_text(TYPED)
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(environment / "bin" / "python")]
    done = subprocess.run([*mypy, "shout.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert [line for line in done.stdout.splitlines() if ": error: " in line] == [
        'shout.py:5: error: Argument "mark" to "Shout" has incompatible type "int"; expected "str"  [arg-type]'
    ]


def test_both_wheels_serve(built: Path, environment: Path) -> None:
    python = environment / "bin" / "python"
    for kind in ("compiled", "pure"):
        install(environment, wheel_of(built, kind), "--no-deps", "--force-reinstall")
        run(python, "-I", ROOT / "tests" / "installed.py", kind, cwd=environment)


def test_a_package_index_shows_no_link_that_leads_nowhere(wheel: Path) -> None:
    text = metadata_of(wheel)
    assert re.findall(r"\]\((?!https?:)[^)]*\)", text) == []
    assert "`docs/configuration.md`" in text


def test_cibuildwheel_builds_for_the_versions_that_are_named() -> None:
    """cibuildwheel itself needs Docker. What it would build, and try each wheel with, are there."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]
    built = {name.removeprefix("cp3").removesuffix("-*") for name in settings["build"].split()}
    named = set(re.findall(r"Python :: 3\.(\d+)", (ROOT / "setup.py").read_text()))
    assert named <= built
    assert (ROOT / settings["test-command"].split()[2].replace("{project}/", "")).is_file()
