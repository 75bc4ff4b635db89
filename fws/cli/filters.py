"""`fws filters`: list the available filters, or describe one of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from fws.compiler.compile import project_of
from fws.compiler.registry import SOURCES, Found, LookupProblem, Registry
from fws.pipeline.filter import hooks_of
from fws.pipeline.source import Source
from fws.reference.pages import (
    ORIGIN_TITLES,
    doc_of,
    filter_json,
    filter_markdown,
    filter_text,
    metrics_markdown,
    named,
    reference_markdown,
    settings_markdown,
)


@click.command()
@click.argument("name", required=False)
@click.option("--format", type=click.Choice(["text", "markdown", "json"]), default="text", show_default=True)
@click.option("--built-in", is_flag=True, help="Leave out the filters in the folder pipelines/.")
@click.option("--settings", is_flag=True, help="Describe the settings of the TOML file's sections instead.")
@click.option("--metrics", is_flag=True, help="Describe the metrics instead.")
def filters(name: str | None, format: str, built_in: bool, settings: bool, metrics: bool) -> None:
    """List the filters that a stage can name and the sources, or describe the one called NAME.

    They come from the folder pipelines/ here or in the folder above, from fws itself, and from installed packages.
    """
    if settings or metrics:
        click.echo(settings_markdown() if settings else metrics_markdown(), nl=False)
        return
    registry = Registry() if built_in else registry_here()
    if name is not None:
        try:
            found = _find(registry, name)
        except LookupProblem as problem:
            click.echo(f"fws: {problem.message}" + (f" ({problem.hint})" if problem.hint else ""), err=True)
            sys.exit(1)
        views = {"text": filter_text, "markdown": filter_markdown}
        click.echo(_json(filter_json(found)) if format == "json" else views[format](found))
        return
    founds = []
    problems: dict[str, None] = {}  # a module that cannot be imported may have had filters and sources
    for found_or_problem in [*registry.all(), *registry.all(SOURCES)]:
        if isinstance(found_or_problem, Found):
            founds.append(found_or_problem)
        else:
            problems[found_or_problem.message] = None
    for message in problems:
        click.echo(f"fws: {message}", err=True)
    if format == "json":
        click.echo(_json([filter_json(found) for found in founds]))
    elif format == "markdown":
        click.echo(reference_markdown(registry), nl=False)
    elif sys.stdout.isatty():
        _print_tables(founds)
    else:
        click.echo(_lines(founds))


def _find(registry: Registry, name: str) -> Found:
    """The filter of that name, or the source. Raises LookupProblem."""
    try:
        return registry.find(name)
    except LookupProblem:
        try:
            return registry.find(name, SOURCES)
        except LookupProblem:
            pass
        raise


def registry_here() -> Registry:
    """The filters of the current folder's project, and all others."""
    return Registry(project_of(Path.cwd()))


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


# One row of the list: name, events, summary.
Row = tuple[str, str, str]


def _groups(founds: Sequence[Found]) -> list[tuple[str, list[Row]]]:
    groups: dict[str, list[Row]] = {}
    for name, found in named(founds):
        source = issubclass(found.cls, Source)
        row = (name, "" if source else ", ".join(hooks_of(found.cls)), doc_of(found.cls).summary)
        groups.setdefault("Sources" if source else ORIGIN_TITLES[found.origin], []).append(row)
    return list(groups.items())


def _lines(founds: Sequence[Found]) -> str:
    """One line per filter, not shortened, for pipes."""
    groups = _groups(founds)
    rows = [row for _, group in groups for row in group]
    widths = [max((len(row[column]) for row in rows), default=0) + 2 for column in (0, 1)]
    blocks = []
    for title, group in groups:
        lines = [f"  {name:{widths[0]}}{events:{widths[1]}}{summary}".rstrip() for name, events, summary in group]
        blocks.append("\n".join([title, *lines]))
    return "\n\n".join(blocks)


def _print_tables(founds: Sequence[Found]) -> None:
    """The same for a terminal, where long summaries wrap inside their column."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for title, group in _groups(founds):
        table = Table(
            box=None, show_header=False, title=Text(title, "bold"), title_justify="left", padding=(0, 2, 0, 0)
        )
        table.add_column(no_wrap=True)
        table.add_column(max_width=30)
        table.add_column()
        for name, events, summary in group:
            table.add_row(Text(name, "cyan"), Text(events, "dim"), Text(summary))
        console.print(table)
        console.print()
    console.print(Text("`fws filters NAME` describes one of them.", "dim"))
