"""The interface of a carrier, which carries items to and messages from one kind of Redis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from fws.base.metrics import Metrics
from fws.brokers.health import Health
from fws.brokers.items import Item


class Received(NamedTuple):
    """One message from Redis.

    Attributes:
        channel: where it was published.
        payload: its bytes; None for a message that is too large, of which only the channel was read.
        pattern: the pattern that it arrived for; None for a channel that is subscribed by its name.
    """

    channel: bytes
    payload: bytes | None
    pattern: bytes | None


Take = Callable[[Received], None]
Confirmed = Callable[[bytes], None]


class Settings(NamedTuple):
    """The settings of every carrier.

    Attributes:
        everyone: the channel of all clients, which is always subscribed.
        names, patterns: other applications' channels, which are always subscribed.
        buffer: bytes that wait while Redis is away.
        largest: bytes of the largest message that is read.
        scripts: Lua scripts that items use, loaded before anything else is sent.
        health: the state of Redis as the parts of the broker report it.
        clock: monotonic seconds.
    """

    everyone: bytes
    names: Sequence[bytes]
    patterns: Sequence[bytes]
    buffer: int
    largest: int
    scripts: Sequence[bytes]
    health: Health
    metrics: Metrics
    clock: Callable[[], float]


class Carrier(Protocol):
    """Carries items to Redis and messages from it. None of these methods blocks except `stop`."""

    @property
    def waiting(self) -> int:
        """The bytes that wait to be sent."""

    def start(self, take: Take, crowded: Callable[[], bool], confirmed: Confirmed) -> None:
        """Connect, and give `take` each message, in order, unless `crowded`.

        Args:
            confirmed: called when Redis has subscribed this node to a channel, the first time or again.
        """

    def stop(self, timeout: float) -> list[Item]:
        """Send what can be sent within `timeout` seconds, and end. Returns the items that are left."""

    def send(self, item: Item) -> None:
        """Send an item, in order for one channel."""

    def add(self, name: bytes) -> None:
        """Subscribe to a channel soon."""

    def add_pattern(self, pattern: bytes) -> None:
        """Subscribe to a pattern soon. Not in a Cluster."""

    def discard_pattern(self, pattern: bytes) -> None:
        """Unsubscribe from it after a while."""

    def discard(self, name: bytes) -> None:
        """Unsubscribe from it after a while."""
