from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import build


def test_bytes_are_printed_as_they_arrive_and_flow_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = build('[pipelines]\ndata = ["stdout_rawdata"]\nmessage = ["echo"]', tmp_path)
    client = server.connect()
    server.arrive(client, b"\x81\x82\x00\x00\x00\x00h")
    server.arrive(client, b"i")
    assert server.sent(client) == ["hi"]
    assert capsys.readouterr().out == "--RAWDATA--\n\\x81\\x82\\x00\\x00\\x00\\x00h\n--RAWDATA--\ni\n"
