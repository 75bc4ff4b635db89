from __future__ import annotations

from pathlib import Path

from tests.support import build


def test_an_id_flows_once_within_the_time(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["json", "dedupe within=10s", "echo"]', tmp_path)
    first, second = server.connect(), server.connect()
    server.client_says(first, '{"id":1}', '{"id":1}', '{"id":"1"}')
    server.client_says(second, '{"id":1}', '{"id":2}')
    server.clock.advance(10)
    server.client_says(second, '{"id":1}')
    assert server.sent(first) == ['{"id":1}']
    assert server.sent(second) == ['{"id":2}', '{"id":1}']


def test_without_an_id_everything_flows(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["json", "dedupe key.of", "echo"]', tmp_path)
    client = server.connect()
    server.client_says(client, "{}", "{}", '{"key.of":null}', "3", "3")
    assert len(server.sent(client)) == 5


def test_a_long_id_is_an_id(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["json", "dedupe nr", "echo"]', tmp_path)
    client = server.connect()
    for end in ("a", "b", "a"):
        server.client_says(client, f'{{"nr":"{"x" * 5000}{end}"}}')
    assert len(server.sent(client)) == 2


def test_a_client_cannot_make_the_key_too_long(tmp_path: Path) -> None:
    """Fault: an id of 100 characters has up to 400 bytes. With a long channel name it caused an exception."""
    server = build('[endpoints."/{room}"]\nmessage = ["json", "dedupe key={room}", "echo"]', tmp_path)
    client = server.connect("/" + "r" * 200)
    for _ in range(2):
        server.client_says(client, '{"id":"' + "\U0001f600" * 100 + '"}')
    assert len(server.sent(client)) == 1
    server = build('[endpoints."/{a}/{b}/{c}"]\nmessage = ["json", "dedupe key={a}{b}{c}", "echo"]', tmp_path)
    client = server.connect("/" + "/".join(["r" * 200] * 3))
    server.client_says(client, '{"id":1}')
    assert server.sent(client) == []
    assert server.faults == 0
