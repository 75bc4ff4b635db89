from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from tests.support import build


def test_messages_are_printed_and_flow_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = build('[pipelines]\nmessage = ["stdout_messages", "echo", "json", "stdout_messages"]', tmp_path)
    client = server.connect()
    server.client_says(client, '{"a": "é"}', b"1")
    assert server.sent(client) == ['{"a": "é"}', b"1"]
    assert (
        capsys.readouterr().out == '--MESSAGE--\n{"a": "é"}\n--MESSAGE--\n{"a":"é"}\n--MESSAGE--\n1\n--MESSAGE--\n1\n'
    )


def test_a_message_cannot_forge_a_line_or_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = build('[pipelines]\nmessage = ["stdout_messages"]', tmp_path)
    client = server.connect()
    server.client_says(client, "a\n--MESSAGE--\nb\x1b[2J\r\u202e", b"\n\x1b")
    assert capsys.readouterr().out == ("--MESSAGE--\na\\n--MESSAGE--\\nb\\x1b[2J\\r\\u202e\n--MESSAGE--\n\\n\\x1b\n")


class Full(io.StringIO):
    def flush(self) -> None:
        raise BrokenPipeError


@pytest.mark.parametrize("output", ["closed", "broken", "none"])
def test_an_output_that_is_gone_does_not_hurt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str) -> None:
    closed = io.StringIO()
    closed.close()
    outputs = {"closed": closed, "broken": Full(), "none": None}
    server = build('[pipelines]\nmessage = ["stdout_messages", "echo"]', tmp_path)
    client = server.connect()
    monkeypatch.setattr(sys, "stdout", outputs[output])
    server.client_says(client, "hello")
    monkeypatch.undo()
    assert server.sent(client) == ["hello"]
    assert server.faults == 0
