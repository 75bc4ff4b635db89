from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.support import build


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "fws.log")
    return caplog


def test_each_event_is_one_line_and_the_message_flows_on(tmp_path: Path, lines: pytest.LogCaptureFixture) -> None:
    server = build(
        """
        [pipelines]
        connect = ["log"]
        data = ["log"]
        message = ["log", "broadcast", "json", "log"]
        publication = ["log"]
        deliver = ["log"]
        disconnect = ["log"]
        """,
        tmp_path,
    )
    client = server.connect("/here")
    server.client_says(client, '{"a": 1}')
    server.leave(client)
    assert server.sent(client) == ['{"a": 1}']
    said = [line for line in lines.messages if not line.startswith("data")]
    assert said == [
        f"connect {client.id} /here",
        f'message {client.id} {{"a": 1}}',
        'publication everyone {"a": 1}',
        f'message {client.id} {{"a":1}}',
        f'deliver everyone {client.id} {{"a": 1}}',
        f"disconnect {client.id} 1006",
    ]
    assert len(lines.messages) == 7


def test_text_and_level_are_as_asked(tmp_path: Path, lines: pytest.LogCaptureFixture) -> None:
    server = build('[pipelines]\nmessage = ["log level=warning before the limit"]', tmp_path)
    client = server.connect()
    server.client_says(client, "hello")
    assert lines.record_tuples == [("fws.log", logging.WARNING, f"before the limit message {client.id} hello")]


def test_a_huge_message_is_shortened_and_bytes_are_printable(tmp_path: Path, lines: pytest.LogCaptureFixture) -> None:
    server = build('[pipelines]\nmessage = ["log"]', tmp_path)
    client = server.connect()
    server.client_says(client, "x" * 500_000, b"\x00\xff" * 200_000, "50% %s")
    assert all(len(line) < 300 for line in lines.messages)
    assert r"\x00\xff" in lines.messages[1]
    assert lines.messages[2].endswith("50% %s")
