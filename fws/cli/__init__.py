"""The command line, with one module per command."""

from __future__ import annotations

import io
import keyword
import sys
from importlib import import_module

import click

from fws import __version__
from fws.wire import native

# The commands in the order of `fws --help`. Each is a function in a module of the same name; `try` is in `try_`.
COMMANDS = (
    "run",
    "check",
    "graph",
    "test",
    "try",
    "reload",
    "health",
    "clients",
    "kick",
    "channels",
    "history",
    "presence",
    "tap",
    "top",
    "record",
    "replay",
    "filters",
    "new",
    "connect",
    "publish",
    "api",
    "schema",
    "token",
    "classic",
)


class Commands(click.Group):
    """Imports a command only when it is used, because `fws --version` and the start of a worker need few modules."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = f"{name}_" if keyword.iskeyword(name) else name
        command: click.Command = getattr(import_module(f"fws.cli.{module}"), module)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(
    __version__, prog_name="fws", message=f"%(prog)s %(version)s, {'compiled' if native.compiled else 'pure Python'}"
)
def main() -> None:
    """Filtered WebSocket: a server whose behaviour is pipelines of filters, declared in a TOML file."""
    # Characters that the terminal's encoding lacks are shown as escapes, as Python does on standard error. A message
    # with an emoji must not be lost because a container has no locale.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
