"""`fws test`: play the tests of a configuration."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fws.base.errors import ConfigError
from fws.cli.show import problems_of
from fws.config.tests import configuration_of
from fws.testing import report
from fws.testing.suite import Result, Suite


@click.command()
@click.argument("conf", nargs=-1, required=True, type=click.Path())
@click.option("--format", "form", type=click.Choice(["text", "junit", "github"]), default="text", show_default=True)
@click.option("-k", "only", default="", metavar="TEXT", help="Play only tests whose names contain TEXT.")
def test(conf: tuple[str, ...], form: str, only: str) -> None:
    """Play the [[test]] sections of CONF and of NAME_test.toml beside it. Exit with 0 if all pass, else with 1.

    The pipelines run without a network and without Redis, and tests move their clock. docs/testing.md has the language.
    """
    sound = True
    files = list(dict.fromkeys(str(configuration_of(Path(file))) for file in conf))
    for file in files:
        try:
            sound &= _run(file, form, only)
        except ConfigError as error:
            click.echo(problems_of(error), err=True)
            sound = False
    sys.exit(0 if sound else 1)


def _run(file: str, form: str, only: str) -> bool:
    """Play the tests of one file. Returns whether there are some and all pass."""
    suite = Suite(file)
    chosen = [transcript for transcript in suite.transcripts if only in transcript.name]
    if not chosen:
        what = f"no test of {file} has {only!r} in its name" if only else f"{file} has no tests"
        click.echo(f"fws: {what}: write a [[test]] section, as docs/testing.md shows", err=True)
        return False
    results: list[Result] = []
    for transcript in chosen:
        result = suite.play(transcript)
        results.append(result)
        if form == "text":
            click.echo(report.line_of(result))
    if form == "junit":
        click.echo(report.junit(results, file))
    elif form == "github":
        click.echo(report.github(results), nl=any(result.failure is not None for result in results))
    click.echo(f"{report.summary(results)}", err=form != "text")
    return all(result.failure is None for result in results)
