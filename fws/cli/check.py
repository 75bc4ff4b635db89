"""`fws check`: show every problem of a configuration without starting a server."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from msgspec.structs import replace

from fws.base.errors import ConfigError
from fws.base.problem import Problem
from fws.cli.show import pipelines_of, problems_of
from fws.compiler.compile import load_generation
from fws.config.tests import configuration_of, load_tests


@click.command()
@click.argument("conf", nargs=-1, required=True, type=click.Path())
@click.option("-v", "--verbose", is_flag=True, help="Print the pipelines of each path, with all options.")
def check(conf: tuple[str, ...], verbose: bool) -> None:
    """Check the configurations CONF, with the tests beside them. Exit with 0 if all are valid, else with 1."""
    sound = True
    for file in dict.fromkeys(str(configuration_of(Path(one))) for one in conf):
        problems: list[Problem] = []
        try:
            generation = load_generation(file)
        except ConfigError as error:
            problems += error.problems
        try:
            load_tests(file)
        except ConfigError as error:
            problems += error.problems
        if problems:
            click.echo(problems_of(ConfigError(problems)))
            sound = False
            continue
        for problem in generation.warnings:
            click.echo(replace(problem, message=f"warning: {problem.message}"))
        click.echo(f"{file}: ok")
        if verbose:
            click.echo(pipelines_of(generation, options=True))
    sys.exit(0 if sound else 1)
