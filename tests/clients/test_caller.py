"""A client as the adapter of its protocol sees it."""

from __future__ import annotations

from pathlib import Path

import gevent

from tests.support import Harness, build

# A filter of a project may block, so that its clients are served in greenlets of their own.
SLOW = """
from fws import Filter


class Slow(Filter):
    def message(self, client, message):
        return message + "!"
"""
TOML = """
[pipelines]
message = ["PIPELINE"]
"""


def harness(tmp_path: Path, pipeline: str) -> Harness:
    return build(TOML.replace("PIPELINE", pipeline), tmp_path, pipelines={"slow": SLOW})


def test_lines_that_waited_come_before_others(tmp_path: Path) -> None:
    for name, pipeline in (("greenlet", 'slow", "echo'), ("loop", "echo")):
        (tmp_path / name).mkdir()
        server = harness(tmp_path / name, pipeline)
        client = server.connect()
        client.again(["one", "two"])
        server.peers[client].arrive(server.peers[client].frame("three"))
        assert [str(text).rstrip("!") for text in server.sent(client)] == ["one", "two", "three"]


def test_a_greenlet_that_gives_lines_back_goes_on(tmp_path: Path) -> None:
    """The greenlet that reads what Redis answers does so. It serves all channels, and must not end here."""
    server = harness(tmp_path, 'slow", "echo')
    client = server.connect()

    def answered() -> str:
        client.again(["one"])
        return "goes on"

    caller = gevent.spawn(answered)
    assert caller.get(timeout=5) == "goes on"
    assert server.sent(client) == ["one!"]
