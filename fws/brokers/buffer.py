"""What waits to be sent to Redis: bounded in bytes, the oldest goes first when it is full."""

from __future__ import annotations

from collections import deque

# What an item takes beside its bytes.
ITEM = 100


class Buffer:
    """Payloads by channel, in order.

    Attributes:
        size: bytes that wait.
        dropped: items dropped so far because there was no room.
    """

    __slots__ = ("_items", "_most", "dropped", "size")

    def __init__(self, most: int) -> None:
        self._items: deque[tuple[bytes, bytes]] = deque()
        self._most = most
        self.size = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._items)

    def bound(self, most: int) -> int:
        """Set the bound, in bytes. Returns how many items were dropped because of it."""
        self._most = most
        return self._trim()

    def append(self, channel: bytes, payload: bytes) -> int:
        """Add one. Returns how many older ones were dropped for it. One that is larger than the bound waits alone."""
        self._items.append((channel, payload))
        self.size += ITEM + len(channel) + len(payload)
        return self._trim() if self.size > self._most else 0

    def take(self, most: int) -> list[tuple[bytes, bytes]]:
        """Remove the oldest, up to `most` bytes, at least one if there is any."""
        taken: list[tuple[bytes, bytes]] = []
        while self._items and (most > 0 or not taken):
            channel, payload = item = self._items.popleft()
            taken.append(item)
            size = ITEM + len(channel) + len(payload)
            self.size -= size
            most -= size
        return taken

    def put_back(self, items: list[tuple[bytes, bytes]]) -> int:
        """Give back what was taken and is not sent, to its old place. Returns how many were dropped, the oldest."""
        self._items.extendleft(reversed(items))
        self.size += sum(ITEM + len(channel) + len(payload) for channel, payload in items)
        return self._trim()

    def _trim(self) -> int:
        dropped = 0
        while self.size > self._most and len(self._items) > 1:
            channel, payload = self._items.popleft()
            self.size -= ITEM + len(channel) + len(payload)
            dropped += 1
        self.dropped += dropped
        return dropped
