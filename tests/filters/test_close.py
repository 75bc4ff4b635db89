from __future__ import annotations

from pathlib import Path

import pytest

from fws.base.errors import ConfigError
from tests.support import build


def test_earlier_messages_precede_the_close_code_and_reason(tmp_path: Path) -> None:
    server = build("""[pipelines]\nmessage = ["echo", "close 4001 'good bye'", "echo"]""", tmp_path)
    client = server.connect()
    server.client_says(client, "hello", "ignored")
    assert server.sent(client) == ["hello"]
    assert server.closed(client) == (4001, "good bye")


def test_by_default_it_is_a_normal_end(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["close"]', tmp_path)
    client = server.connect()
    server.client_says(client, "hello")
    assert server.closed(client) == (1000, "")


def test_on_deliver_the_receiver_is_closed_and_nobody_else(tmp_path: Path) -> None:
    server = build(
        '[endpoints."/a"]\ndeliver = ["when message == \'out\'", "close 4000"]\n[endpoints."/b"]\nmessage = ["echo"]',
        tmp_path,
    )
    closed, other = server.connect("/a"), server.connect("/b")
    server.channels.broadcast("out")
    assert server.closed(closed) == (4000, "")
    assert server.sent(other) == ["out"]
    assert server.closed(other) is None


def test_bytes_can_end_the_connection(tmp_path: Path) -> None:
    server = build('[pipelines]\ndata = ["close 1003"]\nmessage = ["echo"]', tmp_path)
    client = server.connect()
    server.client_says(client, "hello")
    assert server.closed(client) == (1003, "")


@pytest.mark.parametrize("code", [999, 1005, 1006, 1015, 2000, 5000])
def test_a_code_that_may_not_be_sent_is_a_mistake_in_the_file(tmp_path: Path, code: int) -> None:
    with pytest.raises(ConfigError, match=f"close code {code} may not be sent"):
        build(f'[pipelines]\nmessage = ["close {code}"]', tmp_path)
