"""`fws kick`: close the connections of clients."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fws.cli.running import fail, find, server_options
from fws.live.control import ControlError, ask


# An id may begin with a hyphen.
@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("client", metavar="ID", required=False)
@click.option("--user", help="Close all connections of this user.")
@click.option("--code", type=int, default=1008, show_default=True, help="Close code that the client gets.")
@click.option("--reason", default="kicked", show_default=True, help="Reason that the client gets.")
@server_options
def kick(client: str | None, user: str | None, code: int, reason: str, conf: str | None, path: Path | None) -> None:
    """Close the connection of the client ID, or those of a user. Exit with 0 if there was one, else with 1."""
    if (client is None) is (user is None):
        raise click.UsageError("give either an ID, as `fws clients` shows it, or --user")
    request = {"do": "kick", "client": client, "user": user, "code": code, "reason": reason}
    try:
        number = int(ask(find(conf, path), request)["kicked"])
    except ControlError as error:
        fail(str(error))
    click.echo(f"closed {number} connection{'s' if number != 1 else ''}")
    sys.exit(0 if number else 1)
