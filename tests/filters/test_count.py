from __future__ import annotations

from pathlib import Path

import pytest

from fws.errors import Reject
from tests.support import build


def test_who_is_here_is_counted_up_and_down(tmp_path: Path) -> None:
    server = build('[pipelines]\nconnect = ["count online"]\ndisconnect = ["count online by=-1"]', tmp_path)
    first, second = server.connect(), server.connect()
    assert server.storage.get("online") == "2"
    server.leave(first)
    server.leave(second)
    assert server.storage.get("online") == "0"


def test_the_number_comes_into_the_message_and_begins_anew(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["json", "count said per=1min into=n", "echo"]', tmp_path)
    client = server.connect()
    server.client_says(client, "{}", '{"n":9}', "5")
    server.clock.advance(60)
    server.client_says(client, "{}")
    assert server.sent(client) == ['{"n":1}', '{"n":2}', "5", '{"n":1}']


def test_a_counter_that_is_none_refuses_the_client(tmp_path: Path) -> None:
    server = build('[pipelines]\nconnect = ["count online"]', tmp_path)
    server.storage.add("online", "a set")
    with pytest.raises(Reject) as caught:
        server.connect()
    assert caught.value.status == 503
