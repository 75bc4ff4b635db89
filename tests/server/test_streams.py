"""Bodies with commands at the path for them. tests/hostile/test_protocols.py has the requests."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fws.server.emulation import Emulated


def test_lines_in_a_text_and_one_command() -> None:
    assert Emulated.parse(b'{"session":"s","node":"n","data":"{}\\n{}"}') == Emulated("s", "{}\n{}", "n")
    assert Emulated.parse(b'{"session":"s","data":{"id":1,"ping":{}},"more":[1]}') == Emulated(
        "s", '{"id":1,"ping":{}}'
    )


@settings(deadline=None)
@given(
    st.binary() | st.dictionaries(st.sampled_from(["session", "node", "data"]), st.text() | st.integers() | st.none())
)
def test_any_other_body_is_a_value_error(body: Any) -> None:
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    try:
        found = Emulated.parse(data)
    except ValueError:
        return
    assert 1 <= len(found.session) <= 100
    assert isinstance(found.data, str)


@pytest.mark.parametrize(
    "body",
    [
        b'{"session":"x","data":{"a":[' + b"[]," * 600_000 + b"0]}}",
        b'{"session":"x","data":"","more":[' + b"[]," * 600_000 + b"0]}",
        b'{"session":"x","data":{"a":' + b"[" * 2_000_000,
        b'{"session":"x","data":"' + b"[{" * 900_000 + b'"}',
    ],
)
def test_a_hostile_body_takes_little_time(body: bytes) -> None:
    """Fault: lists in a command that was not in a text were decoded without limits, for half a second."""
    spent = []
    for _ in range(3):
        began = time.thread_time()
        try:
            Emulated.parse(body)
        except ValueError:
            pass
        spent.append(time.thread_time() - began)
    assert min(spent) < 0.05
