"""`fws tap`: watch what passes through the stages of a running server."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import gevent

from fws.base.units import parse_duration
from fws.cli.record import record_to
from fws.cli.running import fail, find, server_options
from fws.live.control import ControlError, asking

# Lines per second without --all.
RATE = 100


@click.command()
@click.argument("pattern", default="")
@click.option("--client", default="", metavar="ID", help="Only this client; the beginning of its id is enough.")
@click.option("--user", default="", help="Only clients of this user.")
@click.option("--channel", default="", help="Only publications to this channel, and clients that are its members.")
@click.option("--drops", is_flag=True, help="Only what is dropped, refused or closed.")
@click.option("--errors", is_flag=True, help="Only stages that fail.")
@click.option("--all", "every", is_flag=True, help=f"Every event, also above {RATE} per second.")
@click.option("--redact", multiple=True, metavar="FIELD", help="Mask this field too; * masks all values.")
@click.option("--record", "file", type=click.Path(path_type=Path), help="Also write whole events to FILE.")
@click.option("--for", "duration", default="", help="Stop after this time, such as 60s.")
@server_options
def tap(
    pattern: str,
    client: str,
    user: str,
    channel: str,
    drops: bool,
    errors: bool,
    every: bool,
    redact: tuple[str, ...],
    file: Path | None,
    duration: str,
    conf: str | None,
    path: Path | None,
) -> None:
    """Show what enters and leaves the stages that PATTERN matches, live, from every worker.

    A pattern is EVENT/STAGE or PATH EVENT/STAGE: message/json, "/chat message/*". Ctrl-C ends it.
    """
    outcomes = [*(["drop", "refuse", "close"] if drops else []), *(["error"] if errors else [])]
    chosen = {"client": client, "user": user, "channel": channel, "redact": list(redact)}
    request: dict[str, Any] = {"do": "tap", "pattern": pattern, "outcomes": outcomes, **chosen}
    if not every:
        request["rate"] = RATE
    socket = find(conf, path)
    try:
        until = parse_duration(duration) if duration else None
    except ValueError as error:
        raise click.UsageError(f"--for: {error}") from None
    shown = skipped = 0
    recording = None if file is None else gevent.spawn(record_to, socket, file, chosen, None)
    try:
        with gevent.Timeout(until, False), asking(socket, request) as answers:
            for answer in answers:
                if "stage" in answer:
                    shown += 1
                    click.echo(line_of(answer))
                elif answer.get("skipped"):
                    skipped += int(answer["skipped"])
                    click.echo(f"-- skipped {answer['skipped']} --")
                elif "tapping" in answer:
                    number = answer["tapping"]
                    stages = f"{number} stage{'s' if number != 1 else ''}"
                    click.echo(f"-- generation {answer['generation']}: tapping {stages} --", err=True)
    except ControlError as error:
        fail(str(error))
    except KeyboardInterrupt:
        pass
    finally:
        if recording is not None:
            recording.kill()
    limit = "" if every else f" (at most {RATE} lines per second; --all for every event)"
    click.echo(f"{shown} shown, {skipped} skipped{limit}", err=True)


def line_of(event: dict[str, Any]) -> str:
    """One call of a filter."""
    at = event["at"]
    clock = f"{time.strftime('%H:%M:%S', time.localtime(at))}.{int(at % 1 * 1000):03}"
    who = event["client"] or event.get("channel") or "-"
    stage = f"{event['path']} {event['stage']}"
    value = event.get("in")
    if event["outcome"] == "pass":
        changed = f"-> {event['out']}" if event.get("out") not in (None, value) else ""
        what = f"{value if value is not None else 'ok'} {changed}".rstrip()
    else:
        why = f" {event['why']}" if event.get("why") else ""
        what = f"{event['outcome'].upper()}{why}" + (f"  {value}" if value is not None else "")
    return f"{clock}  {who:12} {stage:32} {what}  {event['place']}".rstrip()
