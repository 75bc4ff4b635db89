from __future__ import annotations

from pathlib import Path

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


def test_what_lacks_something_is_dropped(tmp_path: Path) -> None:
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
    assert server.hub.metrics["storage_faults"] == 1
    assert server.closed(client) is None
