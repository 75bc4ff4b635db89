from __future__ import annotations

from pathlib import Path

import pytest

from fws.base.errors import ConfigError
from tests.support import build


def test_up_to_the_size_messages_flow_and_above_it_the_connection_ends(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["max_message 4B", "echo"]', tmp_path)
    client = server.connect()
    server.client_says(client, "1234", b"1234", "éé")
    assert server.sent(client) == ["1234", b"1234", "éé"]
    server.client_says(client, "12345")
    assert server.closed(client) == (1009, "a message has at most 4 bytes")
    assert server.metrics["messages_over_size"] == 1


@pytest.mark.parametrize("message", ["ééé", b"12345", "€€"])
def test_text_counts_in_bytes_of_utf_8(tmp_path: Path, message: str | bytes) -> None:
    server = build('[pipelines]\nmessage = ["max_message 4B on_excess=drop", "echo"]', tmp_path)
    client = server.connect()
    server.client_says(client, message, "ok")
    assert server.sent(client) == ["ok"]


def test_a_value_counts_as_its_json(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["json", "max_message 7B on_excess=reply", "echo"]', tmp_path)
    client = server.connect()
    server.client_says(client, '{ "a" :  1 }', '{"a":10}')
    assert server.sent(client) == ['{"a":1}', '{"error":"a message has at most 7 bytes"}']


def test_a_size_has_a_unit(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no unit"):
        build('[pipelines]\nmessage = ["max_message 4096"]', tmp_path)
