"""`fws presence`: who is present in a channel of a running server."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from fws.cli.running import fail, find
from fws.live.control import ControlError, asking


@click.command()
@click.argument("conf", type=click.Path())
@click.argument("channel")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per client.")
@click.option("--socket", "path", type=click.Path(path_type=Path), help="The server's control socket.")
def presence(conf: str, channel: str, as_json: bool, path: Path | None) -> None:
    """List who is present in CHANNEL on all servers, as the running server of CONF knows it."""
    users, clients = set(), 0
    try:
        with asking(find(conf, path), {"do": "presence", "channel": channel}) as answers:
            for one in answers:
                clients += 1
                users.add(one["user"] or one["client"])
                if as_json:
                    click.echo(msgspec.json.encode(one).decode())
                else:
                    info = msgspec.json.encode(one["info"]).decode() if one["info"] else ""
                    click.echo(f"{one['client']:16} {one['user'] or '-':20} {info}".rstrip())
    except ControlError as error:
        fail(str(error))
    if not as_json:
        click.echo(f"{clients} clients, {len(users)} users", err=True)
