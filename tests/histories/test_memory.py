"""The history of a single process."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgspec
import pytest

from fws.base.metrics import Metrics
from fws.config import Channel
from fws.histories.base import Page, Span
from fws.histories.memory import Kept, MemoryHistory
from fws.pipeline.publication import Position, Publication
from tests.histories.contract import KEPT, HistoryContract, Recorder
from tests.support import Clock


class TestMemoryHistory(HistoryContract):
    @pytest.fixture(autouse=True)
    def begin(self) -> None:
        self.clock = Clock(1000.0)
        self.metrics = Metrics()
        self.follower = Recorder()
        self.history: MemoryHistory = MemoryHistory(self.clock, 256 * 1024**2, self.metrics)
        self.history.start(self.follower)

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def test_the_channels_unused_for_longest_are_forgotten_first(self) -> None:
        self.history.limit = 40_000
        for name in ("a", "b", "c", "d"):
            self.publish(name, *("x" * 2000 for _ in range(4)))
        self.messages("a")
        self.publish("e", *("x" * 2000 for _ in range(4)))
        assert self.metrics["histories_evicted"] == 1
        assert [len(self.messages(name)) for name in ("a", "b", "c", "d", "e")] == [4, 0, 4, 4, 4]
        assert self.history.size <= self.history.limit

    def test_a_followed_channel_that_is_forgotten_keeps_its_numbering(self) -> None:
        """Its members would be told about a gap, although they have missed nothing."""
        self.history.limit = 20_000
        self.history.follow("a", KEPT)
        self.publish("a", "x" * 4000)
        for number in range(10):
            self.publish(f"b{number}", "x" * 4000)
        self.publish("a", "y")
        got = [one for one in self.follower.publications if one.channel == "a"]
        assert [(one.offset, one.message[0]) for one in got] == [(1, "x"), (2, "y")]
        assert len({one.epoch for one in got}) == 1
        assert self.messages("a") == ["y"]

    def test_channels_whose_publications_have_expired_are_forgotten_as_new_ones_come(self) -> None:
        settings = Channel(history=5, history_age=60.0)
        for number in range(50):
            self.publish(f"old:{number}", "x", settings=settings)
        self.pass_time(61)
        for number in range(50):
            self.publish(f"new:{number}", "x", settings=settings)
        assert len(self.history._logs) == 50

    def test_the_size_is_about_the_memory_that_is_taken(self) -> None:
        settings = Channel(history=100)
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for number in range(20):
                for _ in range(100):
                    self.history.publish(Publication(f"channel:{number}", "x" * 200), settings)
                    self.follower.publications.clear()
            taken = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert taken * 0.8 <= self.history.size <= taken * 1.3


class TestSuccession:
    """What one process keeps goes over to another one."""

    @pytest.fixture(autouse=True)
    def begin(self) -> None:
        self.clock = Clock(1000.0)
        self.old, self.new = self.history(), self.history()

    def history(self) -> MemoryHistory:
        made = MemoryHistory(self.clock, 1024**2, Metrics())
        made.start(Recorder())
        return made

    def got(self, history: MemoryHistory) -> list[tuple[int, Any]]:
        follower: Any = history.follower
        return [(one.offset, one.message) for one in follower.publications]

    def page(self, history: MemoryHistory, since: Position | None = None) -> Page:
        found: list[Any] = []
        history.page("a", KEPT, Span(since), found.append)
        page: Page = found[0]
        return page

    def test_the_copy_has_the_same_positions_messages_and_size(self) -> None:
        for message in ("one", b"\xff", {"three": 3}):
            self.old.publish(Publication("a", message, "me", info={"user": "ann"}), KEPT)
        self.old.publish(Publication("b", "x"), KEPT)
        for kept in msgspec.msgpack.decode(msgspec.msgpack.encode(self.old.dump()), type=list[Kept]):
            self.new.load(kept)
        assert self.page(self.new) == self.page(self.old)
        assert self.new.size == self.old.size
        top = self.page(self.old).top
        assert self.page(self.new, Position(top.epoch, 2)).complete

    def test_what_the_successor_has_published_before_follows(self) -> None:
        self.old.publish(Publication("a", "old"), KEPT)
        self.new.publish(Publication("a", "new"), KEPT)
        for kept in self.old.dump():
            self.new.load(kept)
        page = self.page(self.new)
        assert [(one.offset, one.message) for one in page.publications] == [(1, "old"), (2, "new")]
        assert page.top.epoch == self.page(self.old).top.epoch
        self.new.remove("a", KEPT, lambda removed: None)
        self.old.remove("a", KEPT, lambda removed: None)
        assert self.new.size == self.old.size

    def test_a_repeated_publication_keeps_its_number_even_in_an_epoch_that_is_not_known(self) -> None:
        self.old.publish(Publication("a", "one"), KEPT)
        epoch = self.page(self.old).top.epoch
        self.old.repeat(Publication("a", "two", offset=2, epoch=epoch), KEPT)
        self.old.repeat(Publication("a", "nine", offset=9, epoch="other"), KEPT)
        assert self.got(self.old) == [(1, "one"), (2, "two"), (9, "nine")]
        page = self.page(self.old)
        assert (page.top, [one.message for one in page.publications]) == (Position("other", 9), ["nine"])
        self.old.begin_anew()
        assert self.page(self.old).top.epoch not in (epoch, "other")
