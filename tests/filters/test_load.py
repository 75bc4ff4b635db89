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
def test_what_is_stored_comes_into_the_message(options: str, loaded: str, tmp_path: Path) -> None:
    key, _, rest = options.partition(" ")
    server = build(f'[pipelines]\nmessage = ["json", "load {key} into=it {rest}", "pick it", "echo"]', tmp_path)
    server.storage.set_field("map", "a", "1")
    server.storage.set_field("map", "b", "x")
    server.storage.add("set", "q", "p")
    server.storage.increment("number", 7)
    client = server.connect()
    server.client_says(client, '{"name":"a"}')
    assert server.sent(client) == [f'{{"it":{loaded}}}']


def test_what_is_no_object_is_dropped(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["load key into=it", "echo"]', tmp_path)
    client = server.connect()
    server.client_says(client, "text")
    assert server.sent(client) == []
    assert server.faults == 0
