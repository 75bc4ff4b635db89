"""A history that answers when a test says so, as one in Redis does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fws.base.metrics import Metrics
from fws.config import Channel
from fws.histories.base import Page, Span
from fws.histories.memory import MemoryHistory
from fws.pipeline.publication import Position


class SlowHistory(MemoryHistory):
    """Keeps publications in the process, and keeps its answers back until `answer`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock, 1 << 20, Metrics())
        self._later: list[Callable[[], object]] = []

    def answer(self) -> None:
        """Give the answers that have been asked for."""
        later, self._later = self._later, []
        for call in later:
            call()

    def follow(self, channel: str, settings: Channel) -> None:
        follow = super().follow
        self._later.append(lambda: follow(channel, settings))

    def read(
        self,
        channel: str,
        settings: Channel,
        after: Position | None,
        last: int,
        done: Callable[[Page | None], None],
    ) -> None:
        read = super().read
        self._later.append(lambda: read(channel, settings, after, last, done))

    def page(self, channel: str, settings: Channel, span: Span, done: Callable[[Page | None], None]) -> None:
        page = super().page
        self._later.append(lambda: page(channel, settings, span, done))

    def unfollow(self, channel: str) -> Any:
        self._followed.discard(channel)
