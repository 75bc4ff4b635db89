"""Values as people see them."""

from __future__ import annotations

import pytest

from fws.base.brief import brief, message_of


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


@pytest.mark.parametrize(
    ("value", "shown"),
    [({"a": [1]}, '{"a":[1]}'), ("x\n", '"x\\n"'), (b"\xff", "bytes ff"), ("x" * 99, '"' + "x" * 58 + "…")],
)
def test_a_value_is_json_on_one_line(value: object, shown: str) -> None:
    assert brief(value) == shown


def test_whoever_watches_does_not_fail_with_the_values_of_filters() -> None:
    """An event failed while somebody tapped it, because the `repr` of its message did."""
    assert brief(Mute()) == "(Mute)"
    assert message_of(Mute()) == "(its text cannot be read)"
    assert message_of(ValueError("bad")) == "bad"
