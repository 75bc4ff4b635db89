"""Secrets are masked wherever they are in a message."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fws.live.redaction import Redaction

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ({"user": "ann", "password": "x"}, {"user": "ann", "password": "***"}),
        ('{"api_key": "x", "n": 1}', '{"api_key":"***","n":1}'),
        ([{"a": {"accessToken": ["x"]}}], [{"a": {"accessToken": "***"}}]),
        (f"Bearer {JWT} bye", "Bearer *** bye"),
        ({"text": f"my {JWT}"}, {"text": "my ***"}),
        ({"data": '{"secret":"x"}'}, {"data": '{"secret":"***"}'}),
        ("hello", "hello"),
        ('{"n": 1}', '{"n": 1}'),
        (b"\x00", b"\x00"),
        (None, None),
    ],
)
def test_what_is_masked(value: Any, masked: Any) -> None:
    assert Redaction().masked(value) == masked


def test_further_fields_and_everything() -> None:
    assert Redaction(["text"]).masked({"Text": "hi", "n": 1}) == {"Text": "***", "n": 1}
    assert Redaction(["*"]).masked({"text": "hi", "n": 1, "ok": True}) == {"text": "***", "n": "***", "ok": True}
    assert Redaction(["*"]).masked("hello") == "***"
    assert Redaction(["*"]).masked(b"abc") == bytes(3)


def test_a_query_may_have_a_token() -> None:
    assert Redaction().target("/a?x=1&access_token=abc&flag") == "/a?x=1&access_token=***&flag"
    assert Redaction(["x"]).target("/a?x=1") == "/a?x=***"
    assert Redaction().target("/a") == "/a"


JSON: Any = st.recursive(st.none() | st.text() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))


@given(JSON, st.text(min_size=8))
def test_a_secret_does_not_survive_in_any_depth(value: Any, secret: str) -> None:
    assert secret not in str(Redaction().masked({"a": [{"token": [secret, value]}]}))
