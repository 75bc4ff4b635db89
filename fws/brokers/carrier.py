"""The interface of a carrier, which carries payloads by channel to and from one kind of Redis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from fws.base.metrics import Metrics
from fws.brokers.health import Health


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


class Settings(NamedTuple):
    """The settings of every carrier.

    Attributes:
        everyone: the channel of all clients, which is always subscribed.
        names, patterns: other applications' channels, which are always subscribed.
        buffer: bytes that wait while Redis is away.
        largest: bytes of the largest message that is read.
        health: the state of Redis as the parts of the broker report it.
        clock: monotonic seconds.
    """

    everyone: bytes
    names: Sequence[bytes]
    patterns: Sequence[bytes]
    buffer: int
    largest: int
    health: Health
    metrics: Metrics
    clock: Callable[[], float]


class Carrier(Protocol):
    """Carries payloads. None of these methods blocks except `stop`."""

    def start(self, take: Take, crowded: Callable[[], bool]) -> None:
        """Connect, and give `take` each message, in order, unless `crowded`."""

    def stop(self, timeout: float) -> list[tuple[bytes, bytes]]:
        """Send what can be sent within `timeout` seconds, and end. Returns the channels and payloads that are left."""

    def send(self, name: bytes, payload: bytes) -> None:
        """Publish, at most once, in order for one channel."""

    def add(self, name: bytes) -> None:
        """Subscribe to a channel soon."""

    def discard(self, name: bytes) -> None:
        """Unsubscribe from it after a while."""
