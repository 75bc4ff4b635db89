"""The broker of a single process: publications are delivered at once, in the caller's greenlet."""

from __future__ import annotations

from collections.abc import Callable

from fws.brokers.base import Deliver
from fws.config.channels import ChannelPattern
from fws.pipeline.publication import Publication


class MemoryBroker:
    """There are no other nodes. Each publication is delivered exactly once, before `publish` returns."""

    publish: Deliver

    def start(self, deliver: Deliver, crowded: Callable[[], bool]) -> None:
        # The hub's method itself, which saves one call per publication.
        self.publish = self._deliver = deliver

    def share(self, copy: Deliver | None) -> None:
        """Also give each publication to another process of this machine from now on.

        Args:
            copy: gets each publication before it is delivered here; None to end it. What it raises, `publish` raises.
        """
        deliver = self._deliver
        if copy is None:
            self.publish = deliver
            return

        def publish(publication: Publication) -> None:
            copy(publication)
            deliver(publication)

        self.publish = publish

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
