"""The broker of one process: what is published is delivered at once, by the caller's own greenlet."""

from __future__ import annotations

from collections.abc import Callable

from fws.brokers.base import Deliver


class MemoryBroker:
    """There is no other node: everything is delivered exactly once, before `publish` returns."""

    publish: Deliver

    def start(self, deliver: Deliver, crowded: Callable[[], bool]) -> None:
        # The hub's method itself: a call less for each publication.
        self.publish = deliver

    def stop(self, timeout: float) -> None:
        pass

    def subscribe(self, channel: str) -> None:
        pass

    def unsubscribe(self, channel: str) -> None:
        pass

    def health(self) -> str | None:
        return None
