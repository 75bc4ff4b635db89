"""`fws channels`: which channels a running server has."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from fws.cli.running import fail, find
from fws.live.control import ControlError, asking


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per channel.")
@click.argument("conf", required=False, type=click.Path())
@click.option("--socket", "path", type=click.Path(path_type=Path), help="The server's control socket.")
def channels(as_json: bool, conf: str | None, path: Path | None) -> None:
    """List the channels of the running server of CONF that have members, with the number of these on this node."""
    try:
        with asking(find(conf, path), {"do": "channels"}) as answers:
            for channel in answers:
                if as_json:
                    click.echo(msgspec.json.encode(channel).decode())
                else:
                    click.echo(f"{channel['members']:8} {channel['channel']}")
    except ControlError as error:
        fail(str(error))
