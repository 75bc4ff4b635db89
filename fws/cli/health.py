"""`fws health`: whether a running server answers, for the health check of a container."""

from __future__ import annotations

import os
from pathlib import Path

import click

from fws.cli.running import fail
from fws.live.control import ControlError, runtime_folder, servers


@click.command()
@click.option("--conf", type=click.Path(path_type=Path), help="Only a server of this configuration.")
def health(conf: Path | None) -> None:
    """Say whether a server answers, whatever it listens on.

    It is asked through its control socket, so neither its address nor TLS matters. The exit status is 0 if one answers
    within 5 s, also while it drains, and 69 if none does.
    """
    try:
        found = servers(runtime_folder(os.environ))
    except ControlError as error:
        fail(str(error))
    for about in found.values():
        if conf is None or about["file"] == os.path.abspath(conf):
            click.echo(f"{about['file']} is served, generation {about['generation']}")
            return
    fail("no server answers" if conf is None else f"no server of {conf} answers")
