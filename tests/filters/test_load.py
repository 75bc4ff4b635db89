from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import build


@pytest.mark.parametrize(
    ("options", "loaded"),
    [
        ("map of=map", '{"a":"1","b":"x"}'),
        ("map of=map read=json", '{"a":1,"b":"x"}'),
        ("map field=name", '"1"'),
        ("map field=none", "null"),
        ("set of=set", '["p","q"]'),
        ("set of=size", "2"),
        ("number", '"7"'),
        ("number read=json", "7"),
        ("nothing", "null"),
        ("nothing of=set", "[]"),
    ],
)
def test_a_stored_value_is_put_into_the_message(options: str, loaded: str, tmp_path: Path) -> None:
    key, _, rest = options.partition(" ")
    server = build(f'[pipelines]\nmessage = ["json", "load {key} into=it {rest}", "pick it", "echo"]', tmp_path)
    server.storage.set_field("map", "a", "1")
    server.storage.set_field("map", "b", "x")
    server.storage.add("set", "q", "p")
    server.storage.increment("number", 7)
    client = server.connect()
    server.client_says(client, '{"name":"a"}')
    assert server.sent(client) == [f'{{"it":{loaded}}}']


def test_a_message_that_is_not_an_object_is_dropped(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["load key into=it", "echo"]', tmp_path)
    client = server.connect()
    server.client_says(client, "text")
    assert server.sent(client) == []
    assert server.faults == 0


def test_a_value_that_is_too_large_to_read_as_json_ends_the_event(tmp_path: Path) -> None:
    """Fault: a map with 4 MiB of brackets, which any client could store, blocked the process for a second."""
    for options in ("of=map", "field=name"):
        server = build(f'[pipelines]\nmessage = ["json", "load key into=it read=json {options}", "echo"]', tmp_path)
        for name in "abc":
            server.storage.set_field("key", name, "[" + "[]," * 340_000 + "[]]")
        client = server.connect()
        server.client_says(client, '{"name":"a"}')
        assert server.sent(client) == []
        assert (server.faults, server.metrics["storage_faults"]) == (0, 1)


def test_a_value_that_is_nested_too_deep_stays_text(tmp_path: Path) -> None:
    """Fault: a value that is nested 900 deep can be decoded, but not encoded a few calls further down."""
    server = build('[pipelines]\nmessage = ["json", "load key into=it read=json", "echo"]', tmp_path)
    server.storage.set("key", "[" * 900 + "]" * 900)
    client = server.connect()
    server.client_says(client, "{}")
    assert server.sent(client) == ['{"it":"' + "[" * 900 + "]" * 900 + '"}']
