"""What goes through the sockets of one process, as numbers that only grow."""

from __future__ import annotations

from fws.base.histogram import Histogram


class Traffic:
    """Counts bytes, messages and deliveries. The code that moves them adds to the attributes: a call would cost more.

    Attributes:
        bytes_in: bytes that were read from sockets of clients.
        bytes_out: bytes that were given to sockets of clients.
        replies: messages that were sent to single clients.
        deliveries: publications that the fan-out has given to members, about.
        connects: clients whose `connect` has passed.
        fanout: seconds from the beginning of a fan-out to its end. Not every small one is measured: each duration
            counts for those since the last one.
    """

    __slots__ = ("bytes_in", "bytes_out", "connects", "deliveries", "fanout", "replies")

    def __init__(self) -> None:
        self.bytes_in = 0
        self.bytes_out = 0
        self.replies = 0
        self.deliveries = 0
        self.connects = 0
        self.fanout = Histogram()

    @property
    def sent(self) -> int:
        """All messages to clients."""
        return self.replies + self.deliveries
