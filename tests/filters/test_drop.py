from __future__ import annotations

from pathlib import Path

from tests.support import build


def test_a_dropped_message_goes_no_further_and_the_next_one_does_not_suffer(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["echo", "drop", "echo"]', tmp_path)
    client = server.connect()
    server.client_says(client, "one", "two")
    assert server.sent(client) == ["one", "two"]


def test_dropped_bytes_are_never_parsed(tmp_path: Path) -> None:
    server = build('[pipelines]\ndata = ["drop"]\nmessage = ["echo"]', tmp_path)
    client = server.connect()
    server.arrive(client, b"\xff\xff not a frame")
    assert server.sent(client) == []
    assert server.closed(client) is None


def test_a_dropped_publication_reaches_nobody(tmp_path: Path) -> None:
    server = build('[pipelines]\npublication = ["drop"]\nmessage = ["echo"]', tmp_path)
    client = server.connect()
    server.channels.broadcast("hello")
    assert server.sent(client) == []


def test_on_deliver_only_this_endpoint_does_not_get_it(tmp_path: Path) -> None:
    server = build('[endpoints."/deaf"]\ndeliver = ["drop"]\n[endpoints."/hears"]\nmessage = ["echo"]', tmp_path)
    deaf, hears = server.connect("/deaf"), server.connect("/hears")
    server.channels.broadcast("hello")
    assert server.sent(deaf) == []
    assert server.sent(hears) == ["hello"]
