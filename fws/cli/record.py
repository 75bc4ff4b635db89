"""`fws record`: store the traffic of a running server, for `fws replay`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import gevent
import msgspec

from fws.base.units import parse_duration
from fws.cli.running import fail, find
from fws.live.control import ControlError, asking


@click.command()
@click.argument("conf", type=click.Path())
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--for", "duration", default="60s", show_default=True, help="How long to record.")
@click.option("--client", default="", metavar="ID", help="Only this client.")
@click.option("--user", default="", help="Only clients of this user.")
@click.option("--channel", default="", help="Only clients that are members of this channel.")
@click.option("--redact", multiple=True, metavar="FIELD", help="Mask this field too; * masks all values.")
@click.option(
    "--socket", "path", type=click.Path(path_type=Path), help="Control socket of the server, if several serve CONF."
)
def record(
    conf: str,
    file: Path,
    duration: str,
    client: str,
    user: str,
    channel: str,
    redact: tuple[str, ...],
    path: Path | None,
) -> None:
    """Record the events of the running server of CONF in FILE, with their secrets masked. Ctrl-C ends it earlier."""
    try:
        seconds = parse_duration(duration)
    except ValueError as error:
        raise click.UsageError(f"--for: {error}") from None
    chosen = {"client": client, "user": user, "channel": channel, "redact": list(redact)}
    try:
        events, skipped = record_to(find(conf, path), file, chosen, seconds)
    except ControlError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{file}: {error.strerror}", 1)
    left_out = f", {skipped} skipped because the server was faster than this" if skipped else ""
    click.echo(f"{events} events in {file}{left_out}", err=True)


def record_to(socket: Path, file: Path, chosen: Mapping[str, Any], seconds: float | None) -> tuple[int, int]:
    """Write events to a file, which only this user can read. Returns the numbers of events and of skipped ones.

    Args:
        seconds: how long; None until the greenlet is ended.

    Raises:
        ControlError: the server cannot be reached.
        OSError: the file cannot be written.
    """
    events = skipped = 0
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as lines:
        try:
            with gevent.Timeout(seconds, False), asking(socket, {"do": "record", **chosen}) as answers:
                for answer in answers:
                    skipped += int(answer.get("skipped") or 0)
                    if "event" in answer or "recording" in answer:
                        events += "event" in answer
                        lines.write(msgspec.json.encode(answer) + b"\n")
                        lines.flush()
        except KeyboardInterrupt:
            pass
    return events, skipped
