"""The command line: one module a command."""

from __future__ import annotations

import click

from fws import __version__
from fws.cli.check import check
from fws.cli.classic import classic
from fws.cli.connect import connect
from fws.cli.filters import filters
from fws.cli.new import new
from fws.cli.publish import publish
from fws.cli.run import run
from fws.cli.schema import schema
from fws.cli.token import token
from fws.wire import native


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(
    __version__, prog_name="fws", message=f"%(prog)s %(version)s, {'compiled' if native.compiled else 'pure Python'}"
)
def main() -> None:
    """Filtered WebSocket: a server whose behaviour is a pipeline of filters, declared in a TOML file."""


for command in (run, check, filters, new, connect, publish, schema, token, classic):
    main.add_command(command)
