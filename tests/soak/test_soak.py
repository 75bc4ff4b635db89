"""The soak detects each kind of error that it is made for. One test runs it for a few seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak.ledger import AFTER, GRACE, Ledger, Receiver, Sender, read, written

HERE, THERE = 1, 2


class Room:
    """A sender and a receiver on one process or on two, with a passed clock."""

    def __init__(self, process: int, said_before: int = 0) -> None:
        self.ledger = Ledger()
        self.now = 100.0
        self.sender: Sender = self.ledger.sender(process, "room")
        for _ in range(said_before):
            self.sender.next(self.now)
        self.receiver = Receiver(self.ledger, HERE, "room", self.now)
        self.now += GRACE + 1

    def says(self, *arriving: int) -> None:
        """Send this many messages, of which some arrive. The sender gets its own."""
        for _ in range(max(arriving, default=-1) + 1 - len(self.sender.times)):
            self.sender.next(self.now)
        for number in arriving:
            self.receiver.take(written(self.sender.key, number))
        self.sender.echoed = len(self.sender.times) - 1

    def counts(self, polite: bool = True) -> dict[str, int]:
        self.receiver.wants()
        self.receiver.close(self.now + GRACE + 1, polite)
        return {name: count for name, count in self.ledger.counts.items() if count and name != "delivered"}


def test_all_is_well() -> None:
    for process in (HERE, THERE):
        room = Room(process)
        room.says(0, 1, 2)
        assert room.receiver.has_all()
        assert room.counts() == {}


@pytest.mark.parametrize(
    ("arriving", "counts"),
    [
        ((0, 2, 3), {"lost": 1}),
        ((1, 2), {"lost": 1}),
        ((0, 2, 1, 3), {"out of order": 1}),
        ((0, 1, 1), {"duplicated": 1}),
        ((0, 1, 0), {"duplicated": 1}),
    ],
)
def test_errors_are_counted(arriving: tuple[int, ...], counts: dict[str, int]) -> None:
    room = Room(HERE)
    room.says(*arriving)
    assert room.counts() == counts


def test_a_missing_end_counts_only_for_members_that_stay() -> None:
    for polite, counts in ((True, {"lost": 2}), (False, {})):
        room = Room(HERE)
        room.says(0, 1)
        room.sender.next(room.now)
        room.sender.next(room.now)
        room.sender.echoed = 3
        room.receiver.wants()
        assert not room.receiver.has_all()
        assert room.counts(polite) == counts


def test_messages_before_a_member_joined_do_not_count_as_lost() -> None:
    for process in (HERE, THERE):
        room = Room(process, said_before=5)
        room.says(5, 6)
        assert room.counts() == {}


def test_nobody_heard_at_all_is_missed() -> None:
    for process, name in ((HERE, "lost"), (THERE, "lost between processes")):
        room = Room(process)
        room.sender.next(room.now)
        room.sender.echoed = 0
        assert room.counts() == {name: 1}


def test_losses_between_processes_during_an_outage_are_counted_separately() -> None:
    for process, name in ((HERE, "lost"), (THERE, "lost while Redis was away")):
        room = Room(process)
        room.ledger.outages = [(room.now - 1, room.now - AFTER / 2)]
        room.says(0, 2)
        assert room.counts() == {name: 1}


def test_a_torn_message_is_seen() -> None:
    whole = written(7, 12, "é|x")
    assert read(whole) == (7, 12)
    for torn in (whole[:-1], whole + "x", whole[:3] + whole, whole.replace("12", "13"), "", b"m|x"):
        assert read(torn) is None


def test_a_few_seconds_of_it() -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.soak", "--seconds", "2"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lost on one process" in done.stdout
