"""What the Redis broker is built on: payloads by Redis channel, to and from one kind of Redis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from fws.base.metrics import Metrics
from fws.brokers.health import State

# Called with the pattern (None for a channel subscribed by its name), the channel, and the payload (None: too large).
Take = Callable[[bytes | None, bytes, bytes | None], None]


class Setting(NamedTuple):
    """What every carrier is told.

    Attributes:
        everyone: the channel that is always heard.
        names, patterns: other applications' channels, always heard.
        buffer: bytes that wait while Redis is away.
        largest: bytes; of a larger message only the channel is given to `take`.
        clock: monotonic seconds.
    """

    everyone: bytes
    names: Sequence[bytes]
    patterns: Sequence[bytes]
    buffer: int
    largest: int
    state: State
    metrics: Metrics
    clock: Callable[[], float]


class Carrier(Protocol):
    """None of these methods waits but `stop`."""

    def start(self, take: Take, crowded: Callable[[], bool]) -> None:
        """Connect, and give `take` each message, in order, unless `crowded`."""

    def stop(self, timeout: float) -> None:
        """Send what can still be sent within `timeout` seconds, and end."""

    def send(self, name: bytes, payload: bytes) -> None:
        """Publish, at most once, in order for one channel."""

    def add(self, name: bytes) -> None:
        """Hear a channel, from a moment on that comes soon."""

    def discard(self, name: bytes) -> None:
        """Hear it no more, in a while."""
