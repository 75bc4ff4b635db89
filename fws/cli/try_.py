"""`fws try`: talk to a configuration without a server, and see what every stage makes of each line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from fws.base.errors import ConfigError
from fws.cli.show import problems_of
from fws.testing.session import Session
from fws.testing.simulation import SimulationError

PROMPT = "> "


@click.command("try")
@click.argument("conf", type=click.Path())
def try_(conf: str) -> None:
    """Play a conversation with the pipelines of CONF, line by line, in the language of tests.

    Nothing listens, no Redis is needed, and the clock stands still until a line moves it. `:help` shows what can be
    written. Lines may also come from a pipe.
    """
    try:
        session = Session(conf)
    except ConfigError as error:
        click.echo(problems_of(error), err=True)
        sys.exit(1)
    except SimulationError as error:
        click.echo(f"fws: {error}", err=True)
        sys.exit(1)
    interactive = sys.stdin.isatty()
    if interactive:
        click.echo(f"{conf}: write `ann> connect /`, then `ann> hello`. :help shows more, :quit ends it.")
    try:
        for line in _typed(session.words) if interactive else _piped():
            if not interactive and line.strip():
                click.echo(line)
            for shown in session.enter(line):
                click.echo(shown)
            if session.ended:
                break
    finally:
        session.close()


def _piped() -> Iterator[str]:
    for line in sys.stdin:
        yield line.rstrip("\n")


def _typed(words: Callable[[], list[str]]) -> Iterator[str]:
    """The lines that a person types, with a history that is kept, and completion."""
    try:
        import readline
    except ImportError:  # not available on every system
        readline = None  # type: ignore[assignment]
    history = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "fws" / "try_history"
    if readline is not None:

        def complete(text: str, state: int) -> str | None:
            found = [word for word in words() if word.startswith(text)]
            return found[state] if state < len(found) else None

        readline.set_completer(complete)
        readline.set_completer_delims(" ")
        readline.parse_and_bind("tab: complete")
        try:
            readline.read_history_file(history)
        except OSError:
            pass
    try:
        while True:
            try:
                yield input(PROMPT)
            except EOFError:
                click.echo()
                return
            except KeyboardInterrupt:
                click.echo()
    finally:
        if readline is not None:
            try:
                history.parent.mkdir(parents=True, exist_ok=True)
                readline.set_history_length(1000)
                readline.write_history_file(history)
            except OSError:
                pass  # without a home there is no history
