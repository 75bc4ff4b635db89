from __future__ import annotations

from pathlib import Path

import pytest

from fws import DROP
from fws.filters.omit import Omit
from tests.support import build


def test_the_named_fields_go_and_the_message_of_the_others_is_untouched() -> None:
    message = {"secret": 1, "text": "hi"}
    assert Omit(fields=["secret", "missing"]).change(message) == {"text": "hi"}
    assert message == {"secret": 1, "text": "hi"}


@pytest.mark.parametrize("value", ["text", b"bytes", [{"secret": 1}], 5, None])
def test_a_message_that_is_not_an_object_is_dropped(value: object) -> None:
    assert Omit(fields=["secret"]).change(value) is DROP


def test_for_the_receivers_of_one_endpoint_alone(tmp_path: Path) -> None:
    server = build(
        """
        [endpoints."/public"]
        deliver = ["omit address token"]
        [endpoints."/staff"]
        message = ["json", "broadcast"]
        """,
        tmp_path,
    )
    public, staff = server.connect("/public"), server.connect("/staff")
    server.client_says(staff, '{"text":"hi","address":"192.0.2.1","token":"t"}')
    assert server.sent(public) == ['{"text":"hi"}']
    assert server.sent(staff) == ['{"text":"hi","address":"192.0.2.1","token":"t"}']
