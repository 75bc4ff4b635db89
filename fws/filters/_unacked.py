"""What `ack` keeps: publications that clients have not acknowledged, and how many have been. It is pure bookkeeping."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import msgspec

Key = tuple[str, str | int]


class Unacked(msgspec.Struct):
    """One publication that a client has got and not acknowledged.

    Attributes:
        key: the publisher's client and the id that it gave.
        number: what the client acknowledges: it counts the client's publications.
        due: when it is sent again, or given up.
        tries: how often it was sent.
    """

    key: Key
    number: int
    publication: Any
    due: float
    tries: int = 1


class Outstanding:
    """What one client has not acknowledged, in the order of first sending.

    Args:
        most: the most publications. Beyond that, the oldest is given up.
    """

    __slots__ = ("_count", "_items", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._items: OrderedDict[int, Unacked] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def next_due(self) -> float | None:
        """When something is due; None if nothing is outstanding."""
        return min((one.due for one in self._items.values()), default=None)

    def sent_before(self, publication: Any) -> Unacked | None:
        """The item of a publication that is sent again."""
        return next((one for one in self._items.values() if one.publication is publication), None)

    def add(self, key: Key, publication: Any, due: float) -> tuple[Unacked, Unacked | None]:
        """A publication is sent. Returns its item, and what is given up because of it: the oldest one."""
        self._count += 1
        one = self._items[self._count] = Unacked(key, self._count, publication, due)
        return one, self._items.popitem(last=False)[1] if len(self._items) > self._most else None

    def take(self, number: int) -> Unacked | None:
        """The client acknowledges a number."""
        return self._items.pop(number, None)

    def due(self, now: float, timeout: float, retries: int) -> tuple[list[Unacked], list[Unacked]]:
        """What is sent again now, in order, and what is given up."""
        late = [one for one in self._items.values() if one.due <= now]
        again = [one for one in late if one.tries <= retries]
        given_up = [one for one in late if one.tries > retries]
        for one in again:
            one.tries += 1
            one.due = now + timeout
        for one in given_up:
            del self._items[one.number]
        return again, given_up

    def clear(self) -> list[Unacked]:
        """The client is gone."""
        left = list(self._items.values())
        self._items.clear()
        return left


class Tally(msgspec.Struct):
    """How many receivers of one publication there are, and how many have acknowledged it."""

    of: int = 0
    acked: int = 0
    open: int = 0


class Tallies:
    """The publications of this node that are not settled yet, each with its tally.

    Args:
        most: the most publications. Beyond that, the oldest is forgotten, and its publisher learns nothing.
    """

    __slots__ = ("_most", "_tallies")

    def __init__(self, most: int) -> None:
        self._most = most
        self._tallies: OrderedDict[Key, Tally] = OrderedDict()

    def sent(self, key: Key) -> None:
        """One more client gets the publication."""
        tally = self._tallies.setdefault(key, Tally())
        tally.of += 1
        tally.open += 1
        if len(self._tallies) > self._most:
            self._tallies.popitem(last=False)

    def settled(self, key: Key, *, acked: bool) -> Tally | None:
        """A client has acknowledged the publication, or will not. Returns the tally if it was the last one."""
        tally = self._tallies.get(key)
        if tally is None:
            return None
        tally.open -= 1
        tally.acked += acked
        if tally.open:
            return None
        return self._tallies.pop(key)
