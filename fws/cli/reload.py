"""`fws reload`: put the edited configuration of a running server in force."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from fws.cli.running import fail, find, server_options
from fws.live.control import ControlError, ask
from fws.live.reload import Report


@click.command()
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--no-test", is_flag=True, help="Do not run the tests of the file first.")
@server_options
def reload(dry_run: bool, no_test: bool, conf: str | None, path: Path | None) -> None:
    """Reload the configuration of a running server, while its clients stay connected.

    Exit with 0 if it is in force now (or would be), with 3 if it needs a restart, with 4 if it is refused.
    """
    request = {"do": "reload", "dry_run": dry_run, "test": not no_test}
    try:
        report = msgspec.convert(ask(find(conf, path), request), Report)
    except ControlError as error:
        fail(str(error))
    number = report.generation
    match report.status:
        case "done":
            click.echo(f"generation {number} is in force")
        case "possible":
            click.echo(f"generation {number} -> {number + 1}")
        case "unchanged":
            click.echo(f"generation {number} stays in force: nothing has changed")
        case "restart":
            click.echo(f"generation {number} stays in force: the server must be restarted")
        case _:
            click.echo(f"generation {number} stays in force: the file is refused")
    if report.status != "unchanged":
        for line in report.lines:
            click.echo("\n".join(f"  {part}" for part in line.split("\n")))
    sys.exit(report.exit_status)
