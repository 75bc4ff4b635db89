"""The label `reason` of refusals has a bounded set of values, which the code uses."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from fws.base.errors import Refusal, Reject
from fws.base.reasons import REASONS, reason_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (Refusal(503, cause="full"), "full"),
        (Refusal(404), "path"),
        (Refusal(431), "request"),
        (Refusal(418), "other"),
        (Refusal(418, cause="made up"), "other"),
        (Reject(401, cause="expired"), "expired"),
        (Reject(404), "filter"),
        (Reject(403, cause="a user's word"), "filter"),
    ],
)
def test_a_refusal_has_one_of_few_reasons(refusal: Refusal, reason: str) -> None:
    assert reason_of(refusal) == reason
    assert reason in REASONS


def test_every_cause_that_the_code_gives_is_known() -> None:
    """Otherwise `/metrics` would show it as `other`."""
    found = set()
    for file in (ROOT / "fws").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Refusal", "Reject", "Denied"):
                given = [one.value for one in node.keywords if one.arg == "cause"]
                given += node.args[:1] if ast.unparse(node.func) == "Denied" else []
                found |= {one.value for one in given if isinstance(one, ast.Constant)}
    assert found
    assert found <= REASONS
