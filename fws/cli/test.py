"""`fws test`: play the tests of a configuration."""

from __future__ import annotations

import logging
import sys
from contextlib import nullcontext, redirect_stdout
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
    files = list(dict.fromkeys(str(configuration_of(Path(file))) for file in conf))
    # Python writes warnings of other loggers than ours to stderr unless somebody listens. Failures say what matters.
    logging.getLogger().addHandler(logging.NullHandler())
    played = {file: _play(file, form, only) for file in files}
    if form == "junit":
        click.echo(report.junit(played))
    missing = [file for file, results in played.items() if results == []]
    if only and len(missing) < len(files):
        missing = []  # one of the files has such a test
    for file in missing:
        none = f"{file} has no tests: write a [[test]] section, as docs/testing.md shows"
        click.echo(f"fws: no test of {file} has {only!r} in its name" if only else f"fws: {none}", err=True)
    sys.exit(0 if not missing and all(map(_passed, played.values())) else 1)


def _passed(results: list[Result] | ConfigError) -> bool:
    return isinstance(results, list) and all(result.failure is None for result in results)


def _play(file: str, form: str, only: str) -> list[Result] | ConfigError:
    """Play the tests of one file, and show what can be shown before the other files are played."""
    results: list[Result] = []
    try:
        suite = Suite(file)
        for transcript in suite.transcripts:
            if only not in transcript.name:
                continue
            # What filters print belongs into no report.
            with nullcontext() if form == "text" else redirect_stdout(sys.stderr):
                results.append(suite.play(transcript))
            if form == "text":
                click.echo(report.line_of(results[-1]))
    except ConfigError as error:
        click.echo(problems_of(error), err=True)
        if form == "github":
            click.echo(report.github(error))
        return error
    if form == "github" and (lines := report.github(results)):
        click.echo(lines)
    if results:
        click.echo(report.summary(results), err=form != "text")
    return results
