"""The command line: one module per command."""

from __future__ import annotations

import io
import sys
from importlib import import_module

import click

from fws import __version__
from fws.wire import native

# In the order in which `fws --help` lists them. Each is a function of the same name in a module of the same name.
COMMANDS = ("run", "check", "filters", "new", "connect", "publish", "schema", "token", "classic")


class Commands(click.Group):
    """Imports a command when it is used: `fws --version` and the start of a worker need few of the modules."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"fws.cli.{name}"), name)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(
    __version__, prog_name="fws", message=f"%(prog)s %(version)s, {'compiled' if native.compiled else 'pure Python'}"
)
def main() -> None:
    """Filtered WebSocket: a server whose behaviour is a pipeline of filters, declared in a TOML file."""
    # What the terminal's encoding has no character for is shown as an escape, as Python does on standard error:
    # a message with an emoji must not be lost because a container has no locale.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
