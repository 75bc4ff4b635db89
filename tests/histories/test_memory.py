"""The history of a single process."""

from __future__ import annotations

import tracemalloc

import pytest

from fws.base.metrics import Metrics
from fws.config import Channel
from fws.histories.memory import MemoryHistory
from fws.pipeline.publication import Publication
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
