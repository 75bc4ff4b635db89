from __future__ import annotations

from pathlib import Path

import pytest

from fws.pipeline.publication import Publication
from tests.support import build


def test_publications_are_printed_and_flow_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = build('[pipelines]\nconnect = ["join a"]\npublication = ["stdout_publications"]', tmp_path)
    client = server.connect()
    server.channels.publish("a", {"b": "é"})
    server.channels.broadcast(b"\xff")
    # As it comes from Redis, on a channel of another application.
    server.channels.deliver(Publication("x\n--FORGED--", "1\n\x1b[2J", origin="outside"))
    assert server.sent(client) == ['{"b":"é"}', b"\xff"]
    assert capsys.readouterr().out == (
        '--PUBLICATION--\na: {"b":"é"}\n--PUBLICATION--\n: \\xff\n--PUBLICATION--\nx\\n--FORGED--: 1\\n\\x1b[2J\n'
    )
