"""`${NAME}` is replaced inside strings, with the rules of a shell."""

from __future__ import annotations

import pytest

from fws.base.variables import VariableError, fill_variables

ENVIRON = {"HOST": "example.org", "EMPTY": "", "SLY": "${HOST} {id}"}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("plain $ {text} $HOST", "plain $ {text} $HOST"),
        ("https://${HOST}/x", "https://example.org/x"),
        ("${HOST:-other}${HOST}", "example.orgexample.org"),
        ("${PORT:-9000}", "9000"),
        ("${PORT:-}", ""),
        ("${EMPTY}", ""),
        ("${EMPTY:-default}", "default"),
        ("${PORT:-[::1]:80}", "[::1]:80"),
        ("${PORT:-a}b}", "ab}"),
        ("${PORT:-two\nlines}", "two\nlines"),
        # What a variable holds is text: nothing in it is filled again.
        ("${SLY}", "${HOST} {id}"),
    ],
)
def test_variables_are_filled(text: str, filled: str) -> None:
    assert fill_variables(text, ENVIRON) == filled


@pytest.mark.parametrize(
    ("text", "offset", "message", "hint"),
    [
        ("a${PORT}", 1, "the variable PORT is not set", "${PORT:-default}"),
        ("${HOST}${PORT}", 7, "the variable PORT is not set", "${PORT:-default}"),
        ("a ${", 2, "begins no variable", "${NAME}"),
        ("${}", 0, "begins no variable", "${NAME}"),
        ("${HOST", 0, "begins no variable", "${NAME}"),
        ("${1}", 0, "begins no variable", "${NAME}"),
        ("${HOST-x}", 0, "begins no variable", "${NAME:-default}"),
        ("${HOST:x}", 0, "begins no variable", "${NAME:-default}"),
    ],
)
def test_a_variable_without_a_value_is_an_error_with_its_place(text: str, offset: int, message: str, hint: str) -> None:
    with pytest.raises(VariableError, match=message) as caught:
        fill_variables(text, ENVIRON)
    assert caught.value.offset == offset
    assert hint in caught.value.hint
