"""`fws new`: create a project that runs, with tests."""

from __future__ import annotations

import re
import secrets
import shlex
import sys
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click

TEMPLATES = files("fws.cli") / "templates"
# A folder for each template. What is in this one belongs to all, unless a template has a file of the same name.
SHARED = "_shared"
DEFAULT = "hello"
CONF = "conf/app.toml"
# `fws new` replaces a name such as GENERATED_KEY in a file by a random key, the same name by the same key.
_GENERATED = re.compile(rb"GENERATED_[A-Z_]+")


def template_names() -> list[str]:
    """The names of the templates, the default one first."""
    names = {entry.name for entry in TEMPLATES.iterdir() if entry.is_dir() and not entry.name.startswith("_")}
    return [DEFAULT, *sorted(names - {DEFAULT})]


def summary(name: str) -> str:
    """What a template is: the first sentence of its TOML file."""
    first = (TEMPLATES / name / CONF).read_text("utf-8").partition("\n")[0]
    return first.removeprefix("# ").partition(". ")[0].rstrip(".")


def template_files(folder: Traversable, path: str = "") -> Iterator[tuple[str, bytes]]:
    """The files of a folder, each with its path."""
    for entry in folder.iterdir():
        if entry.is_file():
            yield path + entry.name, entry.read_bytes()
        elif entry.name != "__pycache__":  # installers compile every file that ends in .py
            yield from template_files(entry, f"{path}{entry.name}/")


def project_files(name: str) -> dict[str, bytes]:
    """The files of a new project: each path with its content, in which keys have been generated."""
    content = dict(template_files(TEMPLATES / SHARED)) | dict(template_files(TEMPLATES / name))
    keys: dict[bytes, bytes] = {}

    def key(found: re.Match[bytes]) -> bytes:
        return keys.setdefault(found[0], secrets.token_hex(32).encode())

    return {path: _GENERATED.sub(key, data) for path, data in content.items()}


class _ListingTemplates(click.Command):
    """A command whose help lists the templates. They are read only if somebody asks for it."""

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Templates"):
            formatter.write_dl([(name, summary(name)) for name in template_names()])


@click.command(cls=_ListingTemplates)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--template",
    type=click.Choice(template_names()),
    default=DEFAULT,
    show_default=True,
    metavar="NAME",
    help="What the project begins with.",
)
def new(folder: Path, template: str) -> None:
    """Create a project in DIR, which must be new or empty.

    The project runs as it is. It has a configuration, a README that says what to change first, and tests.
    """
    content = project_files(template)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            _fail(f"{_shown(folder)} is not empty: name a new folder")
        for name, data in content.items():
            file = folder / name
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(data)
    except FileExistsError as error:
        _fail(f"{_shown(error.filename)} is a file: name a new folder")
    except OSError as error:
        _fail(f"cannot make {_shown(error.filename or folder)}: {error.strerror}")
    step = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(_shown(folder))} && "
    run = f"    {step}fws run {CONF} --watch"
    if "static/index.html" in content:
        click.echo(f"{_shown(folder)} is a project now. Serve it, and open http://localhost:9000/ in a browser:\n")
        click.echo(f"{run}\n")
    else:
        click.echo(f"{_shown(folder)} is a project now. Serve it, and talk to it from a second terminal:\n")
        click.echo(f"{run}\n    fws connect localhost:9000\n")
    click.echo("With --watch the server follows every edit of the file and of pipelines/. Test it:\n")
    click.echo(f"    fws test {CONF}\n")
    click.echo("README.md says more.")


def _shown(path: str | Path) -> str:
    return click.format_filename(path)


def _fail(text: str) -> None:
    click.echo(f"fws: {text}", err=True)
    sys.exit(1)
