from __future__ import annotations

from pathlib import Path

from tests.support import build


def test_after_leaving_nothing_of_the_channel_comes(tmp_path: Path) -> None:
    server = build('[pipelines]\nconnect = ["join lobby"]\nmessage = ["leave lobby", "echo"]', tmp_path)
    client, other = server.connect(), server.connect()
    server.client_says(client, "bye", "bye again")
    assert server.sent(client) == ["bye", "bye again"]
    server.channels.publish("lobby", "hello")
    assert server.sent(client) == []
    assert server.sent(other) == ["hello"]


def test_leaving_where_one_never_was_does_no_harm(tmp_path: Path) -> None:
    server = build('[endpoints."/{room}"]\nmessage = ["leave {room}{room}", "echo"]', tmp_path)
    client = server.connect("/" + "x" * 200)
    server.client_says(client, "bye")
    assert server.sent(client) == ["bye"]
    assert server.faults == 0
