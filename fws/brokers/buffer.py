"""The buffer of what waits for Redis. It is bounded in bytes, and drops the oldest when it is full."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from fws.brokers.items import Item


class Buffer:
    """Items in order.

    Attributes:
        size: bytes that wait.
    """

    __slots__ = ("_items", "_most", "size")

    def __init__(self, most: int) -> None:
        self._items: deque[Item] = deque()
        self._most = most
        self.size = 0

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def bound(self, most: int) -> Sequence[Item]:
        """Set the limit in bytes. Returns the items that were dropped because of it."""
        self._most = most
        return self._trim()

    def append(self, item: Item) -> Sequence[Item]:
        """Add an item. Returns older items that were dropped. An item that is larger than the limit waits alone."""
        self._items.append(item)
        self.size += item.size
        return self._trim() if self.size > self._most else ()

    def take(self, most: int) -> list[Item]:
        """Remove the oldest items, up to `most` bytes, but at least one item if there is any."""
        taken: list[Item] = []
        while self._items and (most > 0 or not taken):
            item = self._items.popleft()
            taken.append(item)
            self.size -= item.size
            most -= item.size
        return taken

    def put_back(self, items: Sequence[Item]) -> Sequence[Item]:
        """Put items that were taken and not sent back to the front. Returns the oldest ones that were dropped."""
        self._items.extendleft(reversed(items))
        self.size += sum(item.size for item in items)
        return self._trim()

    def _trim(self) -> list[Item]:
        dropped = []
        while self.size > self._most and len(self._items) > 1:
            item = self._items.popleft()
            self.size -= item.size
            dropped.append(item)
        return dropped


def drop(items: Sequence[Item]) -> int:
    """Tell items that they are lost. Returns the number of publications among them."""
    for item in items:
        item.lost()
    return sum(item.publications for item in items)
