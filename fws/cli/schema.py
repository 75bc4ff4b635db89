"""`fws schema`: print the JSON Schema of the TOML file for editors."""

from __future__ import annotations

import json

import click

from fws.cli.filters import registry_here
from fws.reference.json_schema import json_schema


@click.command()
def schema() -> None:
    """Print the JSON Schema of the TOML file, with the filters of this project.

    An editor with a TOML language server checks and completes a file whose first line names the schema:
    `#:schema ../fws.schema.json`.
    """
    click.echo(json.dumps(json_schema(registry_here()), indent=2, ensure_ascii=False))
