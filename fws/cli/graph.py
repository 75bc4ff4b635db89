"""`fws graph`: draw the pipelines of a configuration."""

from __future__ import annotations

import os
import sys

import click

from fws.base.errors import ConfigError
from fws.cli.show import problems_of
from fws.compiler.compile import load_generation
from fws.reference.graph import FORMATS, groups_of


@click.command()
@click.argument("conf", type=click.Path())
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="text", show_default=True)
def graph(conf: str, form: str) -> None:
    """Draw the pipelines of CONF: each endpoint, its events, and the branches of its stages."""
    try:
        generation = load_generation(conf)
    except ConfigError as error:
        click.echo(problems_of(error), err=True)
        sys.exit(os.EX_CONFIG)  # as `fws run`
    click.echo(FORMATS[form](groups_of(generation)))
