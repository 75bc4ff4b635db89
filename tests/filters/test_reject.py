from __future__ import annotations

from pathlib import Path

import pytest

from fws.base.errors import ConfigError, Reject
from tests.support import build


def test_the_client_gets_the_status_and_no_connection(tmp_path: Path) -> None:
    server = build(
        """[pipelines]\nconnect = ["join lobby", "reject 503 'Back at noon.'"]\ndisconnect = ["log"]""", tmp_path
    )
    with pytest.raises(Reject) as refused:
        server.connect()
    assert (refused.value.status, refused.value.reason) == (503, "Back at noon.")
    assert server.hub.clients == {}
    assert server.hub.members("lobby") == []


def test_by_default_it_is_403(tmp_path: Path) -> None:
    server = build('[pipelines]\nconnect = ["reject"]', tmp_path)
    with pytest.raises(Reject) as refused:
        server.connect()
    assert (refused.value.status, refused.value.reason) == (403, "Forbidden")


@pytest.mark.parametrize("status", [200, 302, 600])
def test_a_status_that_refuses_nothing_is_a_mistake_in_the_file(tmp_path: Path, status: int) -> None:
    with pytest.raises(ConfigError, match="from 400 to 599"):
        build(f'[pipelines]\nconnect = ["reject {status}"]', tmp_path)


def test_a_message_ends_the_connection_in_the_raw_protocol(tmp_path: Path) -> None:
    server = build("""[pipelines]\nmessage = ["json", "reject 404 'No such method.'", "echo"]""", tmp_path)
    ann = server.connect()
    server.client_says(ann, '{"do": "nothing"}')
    assert server.closed(ann) == (4404, "No such method.")


def test_a_subscription_is_refused(tmp_path: Path) -> None:
    server = build(
        """[channels."*"]
        subscribe = "channel != null"
        [pipelines]
        message = ["json", "subscribe {message.channel}"]
        subscribe = ["reject 403 'Not today.'"]""",
        tmp_path,
    )
    ann = server.connect()
    server.client_says(ann, '{"channel": "tea"}')
    assert server.sent(ann) == ['{"type":"refused","channel":"tea","status":403,"reason":"Not today."}']
    assert not ann.channels
