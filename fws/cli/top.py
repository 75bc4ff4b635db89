"""`fws top`: rates, drops, faults and times of the stages of a running server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from fws import __version__
from fws.base.units import parse_duration
from fws.cli.running import fail, find, server_options
from fws.live.control import ControlError, ask, asking
from fws.live.table import merged, text_of

# Clears the terminal and moves the cursor to its first line (ECMA-48).
_CLEAR = "\x1b[2J\x1b[H"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Measure once and print JSON.")
@click.option("--once", is_flag=True, help="Measure once and print the table.")
@click.option("--every", default="2s", show_default=True, help="The time that each table covers.")
@server_options
def top(as_json: bool, once: bool, every: str, conf: str | None, path: Path | None) -> None:
    """Show what the stages of a running server do: rates per second, drops, errors, and how long they take.

    The numbers are those of `/metrics`, for one interval after the other. Ctrl-C ends it.
    """
    try:
        seconds = parse_duration(every)
    except ValueError as error:
        raise click.UsageError(f"--every: {error}") from None
    once = once or as_json or not sys.stdout.isatty()
    socket = find(conf, path)
    try:
        workers = int(ask(socket, {"do": "hello"}, 5.0)["workers"])
        answers: list[dict[str, Any]] = []
        with asking(socket, {"do": "statistics", "seconds": seconds, "times": int(once)}) as arriving:
            for answer in arriving:
                answers.append(answer)
                if len(answers) < workers:
                    continue
                statistics, answers = merged(answers), []
                if as_json:
                    click.echo(msgspec.json.encode(statistics).decode())
                else:
                    click.echo(("" if once else _CLEAR) + text_of(statistics, __version__))
    except ControlError as error:
        fail(str(error))
    except KeyboardInterrupt:
        pass
