"""`fws clients`: who is connected to a running server."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from fws.cli.running import fail, find, server_options
from fws.live.control import ControlError, asking


@click.command()
@click.option("--user", help="Only the clients of this user.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per client.")
@server_options
def clients(user: str | None, as_json: bool, conf: str | None, path: Path | None) -> None:
    """List the clients of a running server: id, user, address, path and channels."""
    number = 0
    try:
        with asking(find(conf, path), {"do": "clients", "user": user}) as answers:
            for client in answers:
                number += 1
                if as_json:
                    click.echo(msgspec.json.encode(client).decode())
                else:
                    name, channels = client["user"] or "-", " ".join(client["channels"])
                    click.echo(f"{client['id']:14} {name:16} {client['address']:20} {client['path']:24} {channels}")
    except ControlError as error:
        fail(str(error))
    if not as_json:
        click.echo(f"{number} client{'s' if number != 1 else ''}", err=True)
