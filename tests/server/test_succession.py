"""What a process without Redis leaves to its successor. Two nodes in one process, with a real socket between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket

from fws.histories.memory import MemoryHistory
from fws.live.control import ControlError
from fws.pipeline.publication import Position, Publication
from fws.server import link as links
from fws.server.succession import Bequest, Heir
from tests.support import Harness, build

CONF = """
[pipelines]
connect = ["join room", "join plain"]
[channels."room"]
history = 100
[channels."other"]
history = 100
"""


class Pair:
    """An old process and its successor, which have begun the handover. Each has a member of both channels."""

    def __init__(self, old: Harness, new: Harness, path: Path) -> None:
        self.old, self.new = old, new
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(1)
        self.ann = old.connect()
        self.publish(old, "before")
        self.bequest = Bequest(old.node, str(path))
        self.connection, _ = listener.accept()
        listener.close()
        history: Any = new.node.history
        broker: Any = new.node.broker
        self.heir = Heir(new.node, history, broker, self.connection)
        assert self.heir.begun.wait(5)
        self.bob = new.connect()

    def publish(self, at: Harness, *messages: Any, channel: str = "room") -> list[Position | None]:
        """Publish at one of the two. Returns the positions that are told at the end."""
        told: list[Position | None] = []
        history = at.node.history
        settings: Any = at.node.channels.rules.of(channel)
        for message in messages:
            history.publish(Publication(channel, message, "me"), settings.settings, told.append)
        self.settle()
        return told

    def settle(self) -> None:
        for _ in range(3):
            gevent.sleep(0.005)
            self.old.settle()
            self.new.settle()

    def sent(self) -> tuple[list[Any], list[Any]]:
        """What the members of the old and of the new process have got since the last call."""
        self.settle()
        return self.old.sent(self.ann), self.new.sent(self.bob)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Callable[[], Pair]]:
    made: list[Pair] = []

    def make() -> Pair:
        old, new = tmp_path / "old", tmp_path / "new"
        old.mkdir()
        new.mkdir()
        made.append(Pair(build(CONF, old), build(CONF, new), tmp_path / "link"))
        return made[-1]

    yield make
    for one in made:
        one.bequest.end(1)
        gevent.sleep(0.01)


def test_both_processes_see_one_order_that_the_successor_decides(pair: Callable[[], Pair]) -> None:
    two = pair()
    assert two.sent() == (["before"], [])
    positions = two.publish(two.old, "a") + two.publish(two.new, "b") + two.publish(two.old, {"c": [1]}, b"d")
    assert [one and one.offset for one in positions] == [2, 3, 4, 5]
    assert len({one and one.epoch for one in positions}) == 1
    assert two.sent() == (["a", "b", '{"c":[1]}', b"d"],) * 2
    kept = [[one.message for one in at.channels.history("room")] for at in (two.old, two.new)]
    assert kept == [["before", "a", "b", {"c": [1]}, b"d"]] * 2
    assert [one.sender for one in two.new.channels.history("room")] == ["me"] * 5


def test_a_channel_without_history_reaches_both_once(pair: Callable[[], Pair]) -> None:
    two = pair()
    two.sent()
    two.old.channels.publish("plain", "from the old")
    two.settle()
    two.new.channels.publish("plain", "from the new")
    two.new.channels.broadcast("to all")
    assert two.sent() == (["from the old", "from the new", "to all"],) * 2


def test_what_cannot_be_carried_to_the_other_reaches_nobody(pair: Callable[[], Pair]) -> None:
    two = pair()
    two.sent()
    for channel in ("plain", "room"):
        with pytest.raises(TypeError):
            two.old.channels.publish(channel, object())
    assert two.sent() == ([], [])


def test_a_channel_that_is_forgotten_is_forgotten_by_both(pair: Callable[[], Pair]) -> None:
    two = pair()
    two.old.channels.remove_history("room")
    two.settle()
    assert two.old.channels.history("room") == two.new.channels.history("room") == []
    assert [one and one.offset for one in two.publish(two.old, "next")] == [2]


def test_a_successor_that_dies_before_it_serves_leaves_the_numbering_as_it_was(pair: Callable[[], Pair]) -> None:
    """What has not been numbered yet is numbered by the old process, and nobody learns of a gap."""
    two = pair()
    (first,) = two.publish(two.old, "a")
    two.connection.shutdown(socket.SHUT_RDWR)
    (second,) = two.publish(two.old, "b")
    assert first is not None
    assert second == Position(first.epoch, first.offset + 1)
    assert two.old.sent(two.ann) == ["before", "a", "b"]
    assert two.bequest.over


def test_if_it_dies_while_the_old_process_drains_members_are_told_of_a_gap(pair: Callable[[], Pair]) -> None:
    """It may have used numbers that the old process does not know."""
    two = pair()
    (first,) = two.publish(two.old, "a")
    two.bequest.leave()
    two.connection.shutdown(socket.SHUT_RDWR)
    (second,) = two.publish(two.old, "b")
    assert first is not None
    assert second is not None
    assert second.epoch != first.epoch
    assert two.old.metrics["gaps"] == 1


def test_the_end_of_the_old_process_leaves_the_successor_alone(pair: Callable[[], Pair]) -> None:
    two = pair()
    two.sent()
    two.publish(two.old, "last")
    two.bequest.leave()
    two.bequest.end(1)
    two.settle()
    assert [one and one.offset for one in two.publish(two.new, "next")] == [3]
    assert two.new.sent(two.bob) == ["last", "next"]
    assert not two.heir.is_connected


def test_a_successor_that_does_not_read_is_given_up_and_members_are_told_of_a_gap(
    pair: Callable[[], Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both go on with the same numbers then, so that those must not count any more."""
    two = pair()
    (first,) = two.publish(two.old, "a")
    monkeypatch.setattr(links, "MOST", 100)
    positions = two.publish(two.old, "b" * 200, "c")
    assert two.bequest.over
    assert [one.message for one in two.old.channels.history("room")] == ["b" * 200, "c"]
    assert first is not None
    assert {one and one.epoch != first.epoch for one in positions} == {True}
    assert two.old.metrics["gaps"] == 1


def test_what_cannot_be_reached_is_an_error_and_changes_nothing(tmp_path: Path) -> None:
    harness = build(CONF, tmp_path)
    with pytest.raises(ControlError, match="No such file"):
        Bequest(harness.node, str(tmp_path / "none"))
    assert isinstance(harness.node.history, MemoryHistory)
    assert harness.node.history.successor is None


def test_what_is_shown_about_a_sender_may_have_a_number_of_any_size(pair: Callable[[], Pair]) -> None:
    """A user number of 70 bits in the history made every handover fail, and publishing until then."""
    two = pair()
    settings: Any = two.old.node.channels.rules.of("room")
    shown = {"user": "ann", "info": {"number": 2**70}}
    two.old.node.history.publish(Publication("room", "hi", "me").replace(info=shown), settings.settings)
    two.settle()
    assert [at.channels.history("room")[-1].info for at in (two.old, two.new)] == [shown] * 2


def test_what_cannot_be_carried_ends_the_link_at_once() -> None:
    """Otherwise the successor would wait for it, and what is published meanwhile with it."""
    ours, theirs = socket.socketpair()
    ended: list[bool] = []
    with ours, theirs:
        links.Link(ours, lambda frame: None, ended.append, [links.Frame("remove", channel="\ud800")])
        gevent.sleep(0.01)
    assert ended == [True]
