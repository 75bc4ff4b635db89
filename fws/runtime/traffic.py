"""What goes through the sockets of one process, as numbers that only grow."""

from __future__ import annotations

from fws.base.histogram import Histogram


class Traffic:
    """Counts messages and bytes. The code that moves them adds to the attributes itself: a call would cost more.

    Attributes:
        messages_in, bytes_in: messages of clients, and bytes read from their sockets after the handshake.
        messages_out, bytes_out: frames handed to the sockets or outboxes of clients, and their bytes.
        connects: clients whose `connect` has passed.
        deliveries: publications given to members.
        fanout: seconds from the beginning of each fan-out of a channel to its end.
    """

    __slots__ = ("bytes_in", "bytes_out", "connects", "deliveries", "fanout", "messages_in", "messages_out")

    def __init__(self) -> None:
        self.messages_in = 0
        self.bytes_in = 0
        self.messages_out = 0
        self.bytes_out = 0
        self.connects = 0
        self.deliveries = 0
        self.fanout = Histogram()
