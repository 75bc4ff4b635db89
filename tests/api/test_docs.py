"""docs/api.md names every method with its fields, and every code of an error with its status."""

from __future__ import annotations

import re
from pathlib import Path

from fws.api.application import STATUSES
from fws.api.methods import METHODS
from fws.base.command_error import MESSAGES
from fws.pipeline.options import options_of

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()


def test_the_table_of_methods_is_that_of_the_code() -> None:
    rows = []
    for method in METHODS:
        fields = [f"**`{one.name}`**" if one.required else f"`{one.name}`" for one in options_of(method.request)]
        rows.append(f"| `{method.name}` | {method.help} | {', '.join(fields)} | {method.permission} |")
    assert "\n".join(rows) in PAGE


def test_the_table_of_errors_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \| [^|]+ \| (\d+) \|$", PAGE, re.MULTILINE)
    assert {int(code): (message, int(status)) for code, message, status in rows} == {
        code: (message, STATUSES[code]) for code, message in MESSAGES.items()
    }
