from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import build


def test_a_client_that_gives_others_their_turn_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault: on a busy machine a message took longer than a turn, and the next messages seemed lost."""
    monkeypatch.setattr("fws.clients.connection.end_of_turn", lambda: 0.0)
    server = build('[pipelines]\nmessage = ["count said", "echo"]', tmp_path)
    client = server.connect()
    server.arrive(client, b"".join(server.peers[client].frame(text) for text in "abc"))
    server.client_says(client, "d", "e")
    assert server.sent(client) == ["a", "b", "c", "d", "e"]
