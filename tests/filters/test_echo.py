from __future__ import annotations

from pathlib import Path

from tests.support import build


def test_each_kind_of_message_comes_back_as_its_kind(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["echo"]', tmp_path)
    client, other = server.connect(), server.connect()
    server.client_says(client, "text", b"bytes", "")
    assert server.sent(client) == ["text", b"bytes", ""]
    assert server.sent(other) == []


def test_the_message_is_sent_and_flows_on(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["json", "echo", "pick a", "echo"]', tmp_path)
    client = server.connect()
    server.client_says(client, '{"a": 1, "b": 2}')
    assert server.sent(client) == ['{"a":1,"b":2}', '{"a":1}']
