"""The catalogue of counters is complete: it lists what the code counts, and nothing else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from fws.base.counters import CATALOGUE, Counter

ROOT = Path(__file__).parents[2]
COUNTERS = {counter.name: counter for group in CATALOGUE.values() for counter in group}


def calls() -> Iterator[tuple[str, bool]]:
    """The name of each counter that the code uses, and whether it is counted with a label.

    `_refusal` of fws/server/admission.py counts what it is given.
    """
    for file in (ROOT / "fws").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
                continue
            called = ast.unparse(node.func)
            if called.endswith("metrics.count") or (file.name == "admission.py" and called == "self._refusal"):
                name = node.args[0]
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    yield name.value, any(keyword.arg == "label" for keyword in node.keywords)
                else:
                    assert (file.name, ast.unparse(name)) == ("admission.py", "name"), f"{file} counts {name}"


def test_the_catalogue_lists_what_the_code_counts() -> None:
    """An operator must find what a count means."""
    assert {name for name, _ in calls()} == set(COUNTERS)


def test_counters_with_a_label_are_counted_with_one() -> None:
    assert {name for name, labelled in calls() if labelled} == {c.name for c in COUNTERS.values() if c.label}
    assert all(labelled == bool(COUNTERS[name].label) for name, labelled in calls())


def test_no_counter_is_listed_twice() -> None:
    assert len(COUNTERS) == sum(map(len, CATALOGUE.values()))
    assert Counter("refused", "", "status").shown == "refused_STATUS"
