"""A process whose messages take longer than it lives."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from fws.base.errors import ProgramError
from fws.programs.command import Command
from fws.programs.framing import Lines
from fws.programs.process import Bounds, Process, launch


@pytest.fixture(autouse=True, scope="module")
def sigchld() -> Iterator[None]:
    """Afterwards the event loop leaves the children of other tests alone again."""
    yield
    gevent.get_hub().loop.reset_sigchld()


class Slow:
    """Takes a millisecond for each message."""

    def __init__(self) -> None:
        self.heard = 0
        self.statuses: list[int] = []

    def received(self, message: bytes) -> None:
        self.heard += 1
        until = time.perf_counter() + 0.001
        while time.perf_counter() < until:
            pass

    def said(self, line: str) -> None:
        pass

    def failed(self, error: ProgramError) -> None:
        pass

    def ended(self, status: int, rest: bytes) -> None:
        self.statuses.append(status)


def test_it_is_over_when_it_fails_after_its_end_with_messages_left(tmp_path: Path) -> None:
    slow = Slow()
    command = Command(("/bin/sh", "-c", "yes | head -n 2000; exit 3"), str(tmp_path), "yes")
    process: Process = launch(command, {"PATH": "/usr/bin:/bin"}, Lines(), Bounds(1000, 1000, 5.0), slow)
    end = time.monotonic() + 10
    while not vars(process)["_over"]:
        assert time.monotonic() < end
        gevent.sleep(0.01)
    assert 0 < slow.heard < 2000
    assert not slow.statuses
    process.fail(ProgramError("it is late"))
    gevent.sleep(0.01)
    assert slow.statuses == [3]
