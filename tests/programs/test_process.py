"""A process whose messages take longer than it lives, and one that floods its stderr."""

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
        self.lines = 0
        self.statuses: list[int] = []

    def received(self, message: bytes) -> None:
        self.heard += 1
        until = time.perf_counter() + 0.001
        while time.perf_counter() < until:
            pass

    def said(self, line: str) -> None:
        self.lines += 1

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


def test_a_flood_on_stderr_is_read_in_portions(tmp_path: Path) -> None:
    """Fault: a program that wrote to stderr without end took most of the processor time of the server."""
    slow = Slow()
    command = Command(("/bin/sh", "-c", "echo first >&2; exec yes >&2"), str(tmp_path), "yes")
    process: Process = launch(command, {"PATH": "/usr/bin:/bin"}, Lines(), Bounds(1000, 1000, 5.0), slow)
    gevent.sleep(0.4)
    process.kill()
    while not slow.statuses:
        gevent.sleep(0.01)
    # Of each read, 20 lines are looked at, and a portion takes a dozen reads.
    assert 0 < slow.lines < 1000
