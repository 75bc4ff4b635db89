"""`fws new`: create a project that runs, with a test."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def new(folder: Path) -> None:
    """Create a project in DIR, which must be new or empty.

    The project has a configuration, a filter of its own, and a test for both.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            _fail(f"{_shown(folder)} is not empty: name a new folder")
        for name, content in template_files(files("fws.cli") / "template"):
            file = folder / name
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
    except FileExistsError as error:
        _fail(f"{_shown(error.filename)} is a file: name a new folder")
    except OSError as error:
        _fail(f"cannot make {_shown(error.filename or folder)}: {error.strerror}")
    click.echo(f"{_shown(folder)} is a project now. Serve it, and talk to it from a second terminal:\n")
    step = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(_shown(folder))} && "
    click.echo(f"    {step}fws run conf/app.toml --watch")
    click.echo("    fws connect localhost:9000\n")
    click.echo("With --watch the server follows every edit of the file and of pipelines/. Test it:\n")
    click.echo("    fws test conf/app.toml")


def template_files(folder: Traversable, path: str = "") -> Iterator[tuple[str, bytes]]:
    """The files of the template, each with its path."""
    for entry in folder.iterdir():
        if entry.is_file():
            yield path + entry.name, entry.read_bytes()
        elif entry.name != "__pycache__":  # installers compile every file that ends in .py
            yield from template_files(entry, f"{path}{entry.name}/")


def _shown(path: str | Path) -> str:
    return click.format_filename(path)


def _fail(text: str) -> None:
    click.echo(f"fws: {text}", err=True)
    sys.exit(1)
