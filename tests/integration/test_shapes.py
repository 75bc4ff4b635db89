"""The filters `jq` and `schema` in a real server: a process of its own, and a file that changes."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.integration.conftest import Serve

pytestmark = pytest.mark.process

CONF = """
[endpoints."/jq"]
message = ["json", "jq timeout=700ms on_error=reply gsub(\\"a\\"; \\"b\\") | .[:3]", "echo"]
[endpoints."/echo"]
message = ["echo"]
"""


def children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def test_others_are_served_while_jq_computes(serve: Serve) -> None:
    """Fault: a text of 64 KiB took half a minute, during which the server did nothing else."""
    server = serve(CONF)
    with (
        connect(server.url("/jq")) as slow,
        connect(server.url("/jq")) as next_one,
        connect(server.url("/echo")) as other,
    ):
        slow.send('"a"')
        assert slow.recv(10) == "b"
        (process,) = children(server.process.pid)
        begin = time.monotonic()
        slow.send(json.dumps("a" * 60_000))
        time.sleep(0.1)  # so that it is the first to be computed
        next_one.send('"aaaa"')
        longest = 0.0
        while time.monotonic() - begin < 0.5:
            sent = time.monotonic()
            other.send("x")
            assert other.recv(10) == "x"
            longest = max(longest, time.monotonic() - sent)
        assert longest < 0.3
        assert json.loads(slow.recv(10)) == {"error": "this takes too long"}
        assert next_one.recv(10) == "bbb"
        assert children(server.process.pid) != [process]
    (process,) = children(server.process.pid)
    assert server.stop() == 0
    assert not Path(f"/proc/{process}").exists()
    assert "jq took longer than 0.7 s for a message of 60002 bytes" in server.output
