from __future__ import annotations

from pathlib import Path

from tests.support import build


def test_everyone_but_the_sender_gets_it(tmp_path: Path) -> None:
    server = build(
        '[pipelines]\nconnect = ["join lobby"]\nmessage = ["broadcast lobby"]\ndeliver = ["skip_sender"]', tmp_path
    )
    sender, other = server.connect(), server.connect()
    server.client_says(sender, "hello")
    server.channels.publish("lobby", "of the server")
    assert server.sent(sender) == ["of the server"]
    assert server.sent(other) == ["hello", "of the server"]
