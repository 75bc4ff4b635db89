"""How many workers: the flag, then the variable, then the file."""

from __future__ import annotations

from typing import Any

import pytest

from fws.config import effective_workers


@pytest.mark.parametrize(
    ("file", "variable", "flag", "expected"),
    [
        (1, None, None, 1),
        (3, None, None, 3),
        (3, "", None, 3),
        (3, "2", None, 2),
        (3, "2", "4", 4),
        ("auto", None, None, 8),
        (3, "auto", None, 8),
        (3, "2", "auto", 8),
        ("auto", "2", "1", 1),
        (1, "nonsense", "2", 2),
    ],
)
def test_precedence(file: Any, variable: str | None, flag: str | None, expected: int) -> None:
    assert effective_workers(file, flag=flag, variable=variable, cores=8) == expected


@pytest.mark.parametrize("text", ["0", "-1", "257", "two", "1.5", " 2", "²", ""])
def test_what_is_no_number_of_workers(text: str) -> None:
    with pytest.raises(ValueError, match=r"--workers: .* is no number of workers: write 1 to 256, or auto"):
        effective_workers(1, flag=text, variable=None, cores=2)
    if text:
        with pytest.raises(ValueError, match=r"WEB_CONCURRENCY: .* is no number"):
            effective_workers(1, flag=None, variable=text, cores=2)
