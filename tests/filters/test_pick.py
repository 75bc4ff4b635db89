from __future__ import annotations

from pathlib import Path

import pytest

from fws import DROP
from fws.filters.pick import Pick
from tests.support import build


def test_only_the_named_fields_stay_in_the_order_of_the_stage() -> None:
    message = {"secret": 1, "text": "hi", "type": None}
    assert Pick(fields=["type", "text", "missing"]).change(message) == {"type": None, "text": "hi"}
    assert "secret" in message


@pytest.mark.parametrize("value", ["text", b"bytes", [{"secret": 1}], 5, None])
def test_a_message_that_is_not_an_object_is_dropped(value: object) -> None:
    assert Pick(fields=["type"]).change(value) is DROP


def test_in_a_pipeline_on_each_event(tmp_path: Path) -> None:
    server = build(
        """
        [pipelines]
        message = ["json", "pick a b c", "broadcast"]
        publication = ["pick a b"]
        deliver = ["pick a"]
        """,
        tmp_path,
    )
    client = server.connect()
    server.client_says(client, '{"d":4,"c":3,"b":2,"a":1}', "not json", "[1]")
    assert server.sent(client) == ['{"a":1}']
    assert server.faults == 0
