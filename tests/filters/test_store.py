from __future__ import annotations

from pathlib import Path

import pytest

from fws.base.errors import ConfigError
from tests.support import build


def test_fields_go_into_a_map_and_the_message_flows_on(tmp_path: Path) -> None:
    toml = '[pipelines]\nmessage = ["json", "store scores field=player value=points", "echo"]'
    server = build(toml, tmp_path)
    client = server.connect()
    server.client_says(
        client, '{"player":"ann","points":7}', '{"player":"bob","points":[1]}', '{"player":"ann","points":8}'
    )
    assert server.storage.fields("scores") == {"ann": "8", "bob": "[1]"}
    assert len(server.sent(client)) == 3


def test_without_a_field_the_value_is_a_member_of_a_set(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["store said:{client.id} expire=10s"]', tmp_path)
    client = server.connect()
    server.client_says(client, "hello", "hello", b"bytes")
    assert server.storage.members(f"said:{client.id}") == {"hello", "bytes"}
    server.clock.advance(10)
    assert server.storage.members(f"said:{client.id}") == set()


def test_a_message_without_the_fields_is_dropped(tmp_path: Path) -> None:
    toml = '[pipelines]\nmessage = ["json", "store scores field=player value=points", "echo"]'
    server = build(toml, tmp_path)
    client = server.connect()
    server.client_says(client, '{"player":"ann"}', '{"points":1}', "[]", '"text"')
    assert server.sent(client) == []
    assert server.faults == 0


def test_a_storage_that_holds_something_else_ends_the_event_and_is_counted(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["store taken", "echo"]', tmp_path)
    server.storage.set("taken", "a plain value")
    client = server.connect()
    server.client_says(client, "hello")
    assert server.sent(client) == []
    assert server.metrics["storage_faults"] == 1
    assert server.closed(client) is None


def test_a_repeated_failure_is_logged_once_a_minute(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server = build('[endpoints."/{room}"]\nmessage = ["store {room}"]', tmp_path)
    client = server.connect("/taken")
    server.storage.set("taken", "a plain value")
    server.client_says(client, "one", "two", "three")
    server.clock.advance(60)
    server.client_says(client, "four")
    assert len(caplog.records) == 2
    assert server.metrics["storage_faults"] == 4
    # Nor does a client that has a say in the key fill the log.
    for number in range(100):
        server.storage.set(f"taken{number}", "a plain value")
        server.client_says(server.connect(f"/taken{number}"), "hello")
    assert len(caplog.records) < 30


@pytest.mark.parametrize("stage", ["store k expire=0s", "count k per=0s", "dedupe within=0s"])
def test_to_keep_it_for_no_time_is_a_mistake(stage: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="above 0s"):
        build(f'[pipelines]\nmessage = ["json", "{stage}"]', tmp_path)
