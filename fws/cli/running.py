"""Finds the running server that a command is meant for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from fws.live.control import ControlError, runtime_folder, servers

# No server is running, or it cannot be reached.
EXIT_UNREACHABLE = 69  # EX_UNAVAILABLE of sysexits.h

F = TypeVar("F", bound=Callable[..., Any])


def server_options(command: F) -> F:
    """The options with which every command says which server it means."""
    conf = click.option("--conf", type=click.Path(), help="Configuration of the server, if several are running.")
    path = click.option("--socket", "path", type=click.Path(path_type=Path), help="Its control socket, instead.")
    return conf(path(command))


def find(conf: str | None, path: Path | None) -> Path:
    """The control socket of the server that is meant. Ends the process if there is none, or more than one."""
    if path is not None:
        return path
    try:
        found = servers(runtime_folder(os.environ))
    except ControlError as error:
        fail(str(error))
    if conf is not None:
        found = {path: about for path, about in found.items() if about.get("file") == os.path.abspath(conf)}
    if not found:
        fail(f"no server of {conf} is running" if conf is not None else "no server is running")
    if len(found) > 1:
        lines = "\n".join(f"    --socket {path}  ({about.get('file')})" for path, about in found.items())
        fail(f"{len(found)} servers are running: add --conf with the file of one, or\n{lines}")
    return next(iter(found))


def fail(text: str, status: int = EXIT_UNREACHABLE) -> NoReturn:
    click.echo(f"fws: {text}", err=True)
    sys.exit(status)
