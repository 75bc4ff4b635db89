from __future__ import annotations

from pathlib import Path

import pytest

from fws.base.errors import Reject
from tests.support import build


def test_connected_clients_are_counted_up_and_down(tmp_path: Path) -> None:
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


def test_a_key_that_cannot_be_refuses_on_connect_and_ends_the_message(tmp_path: Path) -> None:
    """Fault: a client's long path caused an exception in the log and a 500."""
    path = "/" + "/".join(["r" * 200] * 3)
    server = build('[endpoints."/{a}/{b}/{c}"]\nconnect = ["count {a}{b}{c}"]', tmp_path)
    with pytest.raises(Reject) as caught:
        server.connect(path)
    assert caught.value.status == 400
    stages = 'message = ["count {a}{b}{c}", "echo"]\ndisconnect = ["count {a}{b}{c}"]'
    server = build(f'[endpoints."/{{a}}/{{b}}/{{c}}"]\n{stages}', tmp_path)
    client = server.connect(path)
    server.client_says(client, "x")
    assert server.sent(client) == []
    server.leave(client)
    assert server.faults == 0
