"""`fws check`: show every problem of a configuration without starting a server."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from msgspec.structs import replace

from fws.base.errors import ConfigError
from fws.base.problem import Problem
from fws.cli.show import channels_of, pipelines_of, problems_of, settings_of
from fws.compiler.compile import load_generation
from fws.config import ChannelRules
from fws.config.tests import configuration_of, load_tests
from fws.pipeline.publication import check_channel


@click.command()
@click.argument("conf", nargs=-1, required=True, type=click.Path())
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Print all pipelines and the settings of channels.",
)
@click.option(
    "--channel",
    "channels",
    multiple=True,
    metavar="NAME",
    help="Print what applies to this channel.",
)
def check(conf: tuple[str, ...], verbose: bool, channels: tuple[str, ...]) -> None:
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
            if generation.config.channels:
                click.echo(channels_of(generation.config.channels))
        for name in channels:
            click.echo(_applies(generation.config.channels, name))
    sys.exit(0 if sound else 1)


def _applies(rules: ChannelRules, name: str) -> str:
    """Which pattern a channel's name matches, with its settings."""
    try:
        check_channel(name)
    except ValueError as error:
        return f"  {name!r}: {error}"
    rule = rules.of(name)
    if rule is None:
        return f"  {name} matches no pattern of [channels]"
    values = "".join(f", {key} = {value}" for key, value in rule.values(name).items())
    return "\n".join([f'  {name} matches [channels."{rule.pattern.text}"]{values}', *settings_of(rule)])
