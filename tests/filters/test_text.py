from __future__ import annotations

from pathlib import Path

import pytest

from fws import DROP
from fws.filters.text import Text
from tests.support import build


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("é", None),
        ("é".encode(), "é"),
        (b"", ""),
        ({"a": [1, "é"]}, '{"a":[1,"é"]}'),
        (None, "null"),
        (5, "5"),
        (b"\xff", DROP),
        (b"a\xc3", DROP),
    ],
)
def test_values_become_text(value: object, text: object) -> None:
    assert Text().change(value) == text


def test_binary_becomes_text_on_each_event_that_carries_a_message(tmp_path: Path) -> None:
    for event in ("message", "publication", "deliver"):
        stages = {"message": "", "publication": "", "deliver": ""} | {event: '"text", '}
        server = build(
            f"""
            [pipelines]
            message = [{stages["message"]}"broadcast"]
            publication = [{stages["publication"]}"log level=debug"]
            deliver = [{stages["deliver"]}"log level=debug"]
            """,
            tmp_path,
        )
        client = server.connect()
        server.client_says(client, b"hello", b"\xff", b"bye")
        assert server.sent(client) == ["hello", "bye"], event
        assert server.faults == 0
