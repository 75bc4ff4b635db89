"""The interface of a journal: logs of items that outlive the process, for filters whose work must not be lost.

There is one only with Redis, because memory outlives nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

# The most bytes of one item.
MAX_ITEM = 64 * 1024 * 1024


class Item(NamedTuple):
    """One item of a log.

    Attributes:
        number: its place in the log, from 1 to 2^53.
        data: what was appended.
    """

    number: int
    data: bytes


class Journal(Protocol):
    """Logs of items by name, in Redis. The names are keys of the storage, whose `delete` deletes a log.

    An item is kept from the return of `append` until `remove`, unless the log expires, exceeds its bound, or Redis
    loses its data. Each method is atomic, and may block as those of the storage do.

    Raises:
        StorageError: Redis cannot be reached, or holds something else under this name. It is then unknown whether a
            change was made.
        ValueError: the name cannot be a key.
    """

    def append(self, log: str, items: Sequence[Item], *, most: int, expire: float) -> None:
        """Append items, whose numbers increase. One whose number is not above the last in the log is passed over.

        A caller that does not know whether an earlier call was carried out can therefore repeat it.

        Args:
            most: if the log has more items than this, about so many of the newest are kept.
            expire: seconds from this call until the whole log expires.
        """

    def read(self, log: str, after: int, most: int) -> list[Item]:
        """The oldest items with a number above `after`: at most so many, and fewer if they are large.

        Empty if there are no more. What something else has written to the log is passed over.
        """

    def remove(self, log: str, numbers: Sequence[int]) -> None:
        """Remove items. Those that are not there are passed over."""
