"""The broker of a single process: publications are delivered at once, in the caller's greenlet."""

from __future__ import annotations

from collections.abc import Callable

from fws.brokers.base import Deliver
from fws.config.channels import ChannelPattern


class MemoryBroker:
    """There are no other nodes. Each publication is delivered exactly once, before `publish` returns."""

    publish: Deliver

    def start(self, deliver: Deliver, crowded: Callable[[], bool]) -> None:
        # The hub's method itself, which saves one call per publication.
        self.publish = deliver

    def stop(self, timeout: float) -> None:
        pass

    def subscribe(self, channel: str) -> None:
        pass

    def unsubscribe(self, channel: str) -> None:
        pass

    def feed(self, pattern: ChannelPattern, rule_of: Callable[[str], str | None]) -> None:
        pass

    def unfeed(self, pattern: ChannelPattern) -> None:
        pass

    def health(self) -> str | None:
        return None
