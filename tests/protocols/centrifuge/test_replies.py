"""What clients are told: always JSON on one line, whatever a message is."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fws.pipeline.publication import Publication
from fws.protocols.centrifuge import replies
from fws.protocols.centrifuge.codes import Error, disconnect_of
from fws.wire.encoding import payload_of

MESSAGES = st.text() | st.binary() | st.text('{}[]":,01eE.-\\ud83 \n\r\t\u2028', max_size=40)


def data_of(message: Any) -> Any:
    raw = bytes(replies.data_of(message, *payload_of(message)))
    assert b"\n" not in raw
    assert b"\r" not in raw
    return msgspec.json.decode(raw)


@settings(deadline=None)
@given(MESSAGES)
def test_any_message_is_json_on_one_line(message: str | bytes) -> None:
    found = data_of(message)
    if isinstance(message, bytes):
        assert set(found) == {"base64"}
    elif isinstance(found, dict | list):
        assert found == json.loads(message)
    else:
        assert found == message.encode("utf-8", "replace").decode()


@settings(deadline=None)
@given(MESSAGES, st.text(max_size=20))
def test_any_push_is_json_on_one_line(message: str | bytes, channel: str) -> None:
    channel = channel.encode("utf-8", "replace").decode()
    pub = replies.pub_of(Publication(channel, message), *payload_of(message))
    for line in (replies.publication_push(channel, pub), replies.message_push(message)):
        assert b"\n" not in line
        assert isinstance(json.loads(line), dict)


@pytest.mark.parametrize(
    "text", ["[" * 500_000, "[" + "[]," * 300_000 + "[]]", '{"a":' * 200_000, "[" + "1," * 500_000]
)
def test_a_hostile_text_takes_little_time(text: str) -> None:
    """Fault: a text of a raw client was decoded without limits, for 100 ms and more."""
    spent = []
    for _ in range(3):
        began = time.thread_time()
        assert data_of(text) == text
        spent.append(time.thread_time() - began)
    assert min(spent) < 0.06


def test_an_error() -> None:
    assert json.loads(replies.failure(3, Error(111, "why", temporary=True))) == {
        "id": 3,
        "error": {"code": 111, "message": "why", "temporary": True},
    }


@settings(deadline=None)
@given(st.integers(1000, 4999), st.text(max_size=10))
def test_each_close_code_has_a_code_that_may_be_sent(code: int, reason: str) -> None:
    told, _ = disconnect_of(code, reason)
    assert told == code or 3000 <= told < 4000
