"""Presence in a single process."""

from __future__ import annotations

import pytest

from fws.base.timers import Timers
from fws.presence.memory import MemoryPresence
from tests.presence.contract import PresenceContract, Recorder
from tests.support import Clock


def failed(error: BaseException) -> None:
    raise error


class TestMemoryPresence(PresenceContract):
    @pytest.fixture(autouse=True)
    def begin(self) -> None:
        self.clock = Clock(1000.0)
        self.timers = Timers()
        self.watcher = Recorder()
        self.presence: MemoryPresence = MemoryPresence(self.clock, self.timers)
        self.presence.start(self.watcher)

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.timers.run(self.clock.now, failed)

    def test_nothing_is_kept_of_an_empty_channel(self) -> None:
        self.join("c1")
        self.leave("c1")
        assert self.presence._channels == {}
