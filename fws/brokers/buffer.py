"""The buffer of publications for Redis. It is bounded in bytes, and drops the oldest when it is full."""

from __future__ import annotations

from collections import deque

# The memory of an item in addition to its bytes.
ITEM = 100


class Buffer:
    """Payloads by channel, in order.

    Attributes:
        size: bytes that wait.
        dropped: the number of items that were dropped so far.
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
        """Set the limit in bytes. Returns the number of items that were dropped because of it."""
        self._most = most
        return self._trim()

    def append(self, channel: bytes, payload: bytes) -> int:
        """Add an item. Returns how many older items were dropped. An item that is larger than the limit waits alone."""
        self._items.append((channel, payload))
        self.size += ITEM + len(channel) + len(payload)
        return self._trim() if self.size > self._most else 0

    def take(self, most: int) -> list[tuple[bytes, bytes]]:
        """Remove the oldest items, up to `most` bytes, but at least one item if there is any."""
        taken: list[tuple[bytes, bytes]] = []
        while self._items and (most > 0 or not taken):
            channel, payload = item = self._items.popleft()
            taken.append(item)
            size = ITEM + len(channel) + len(payload)
            self.size -= size
            most -= size
        return taken

    def put_back(self, items: list[tuple[bytes, bytes]]) -> int:
        """Put items that were taken and not sent back to the front. Returns how many of the oldest were dropped."""
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
