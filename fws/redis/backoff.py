"""The waiting time before the next attempt to reach a Redis that is away."""

from __future__ import annotations

from fws.base import backoff

# Seconds. When Redis is back, all nodes reconnect within a second, and one attempt per second and node is no load.
FIRST = 0.05
MOST = 1.0


class Backoff(backoff.Backoff):
    """The waiting times of one connection."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(FIRST, MOST)
