"""`fws history`: what a channel of a running server keeps."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from fws.cli.running import fail, find
from fws.live.control import ControlError, asking


@click.command()
@click.argument("conf", type=click.Path())
@click.argument("channel")
@click.option("--last", type=click.IntRange(min=1), help="The number of newest publications; by default all.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per publication, with its position.")
@click.option("--socket", "path", type=click.Path(path_type=Path), help="The server's control socket.")
def history(conf: str, channel: str, last: int | None, as_json: bool, path: Path | None) -> None:
    """Print what CHANNEL keeps on the running server of CONF, the oldest first: offset and message."""
    try:
        with asking(find(conf, path), {"do": "history", "channel": channel, "last": last or 0}) as answers:
            for one in answers:
                if as_json:
                    click.echo(msgspec.json.encode(one).decode())
                    continue
                message = one["message"]
                text = message if isinstance(message, str) else msgspec.json.encode(message).decode()
                click.echo(f"{one['offset']:8} {text}")
    except ControlError as error:
        fail(str(error))
