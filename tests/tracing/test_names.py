"""The names in spans are those of docs/traces.md, and of OpenTelemetry's conventions where these have one."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import opentelemetry.semconv as conventions

from fws.tracing import names

PAGE = Path(__file__).parents[2] / "docs" / "traces.md"
NAMES = {value for name, value in vars(names).items() if isinstance(value, str) and name.isupper() and "." in value}


def test_the_page_has_every_attribute_once() -> None:
    rows = re.findall(r"^\| `([a-z_.]+\.[a-z_.]+)` \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(NAMES)


def test_names_of_others_are_those_of_the_conventions() -> None:
    known: set[str] = set()
    for place in ("attributes", "_incubating/attributes"):
        for path in (Path(next(iter(conventions.__path__))) / place).glob("*_attributes.py"):
            module = importlib.import_module(f"opentelemetry.semconv.{place.replace('/', '.')}.{path.stem}")
            known |= {one for one in vars(module).values() if isinstance(one, str)}
    assert {name for name in NAMES if not name.startswith("fws.")} <= known
