from __future__ import annotations

from pathlib import Path

import pytest

from fws.base.errors import Reject
from tests.support import build


def test_a_member_gets_publications_until_it_disconnects(tmp_path: Path) -> None:
    server = build('[pipelines]\nconnect = ["join lobby", "join lobby"]', tmp_path)
    client = server.connect()
    server.channels.publish("lobby", "once")
    server.channels.publish("other", "not for it")
    assert server.sent(client) == ["once"]
    server.leave(client)
    assert server.hub.members("lobby") == []


def test_a_message_can_join_and_flows_on(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["join lobby", "echo"]', tmp_path)
    client = server.connect()
    assert server.hub.members("lobby") == []
    server.client_says(client, "hello")
    assert server.hub.members("lobby") == [client]
    assert server.sent(client) == ["hello"]


LONG = "/" + "x" * 200


def test_an_impossible_name_refuses_the_client(tmp_path: Path) -> None:
    server = build('[endpoints."/{room}"]\nconnect = ["join room:{room}"]', tmp_path)
    with pytest.raises(Reject, match="at most 200 bytes") as refused:
        server.connect(LONG)
    assert refused.value.status == 400
    assert server.faults == 0


def test_an_impossible_name_ends_the_message(tmp_path: Path) -> None:
    server = build('[endpoints."/{room}"]\nmessage = ["join room:{room}", "echo"]', tmp_path)
    client = server.connect(LONG)
    server.client_says(client, "hello")
    assert server.sent(client) == []
    assert server.faults == 0
    assert server.closed(client) is None
