"""What a filter keeps for each key of its option `by`: marks, and messages that it holds back. It knows no clock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from fws import Client
from fws.filters._key import Key

# The most keys that are kept. A client may have fewer of its own, because there may be many clients.
MAX_KEYS = 10_000
MAX_KEYS_OF_CLIENT = 100

Slot = TypeVar("Slot")


def _nothing(*arguments: Any) -> None:
    pass


class Held:
    """A message that a filter holds back for one key, and the timer that will let it flow on.

    Attributes:
        cancel: cancels the timer.
    """

    __slots__ = ("_flow", "_message", "cancel")

    def __init__(self) -> None:
        self._flow: Callable[[Any], None] | None = None
        self._message: Any = None
        self.cancel: Callable[[], None] = _nothing

    @property
    def holds(self) -> bool:
        """Whether there is a message."""
        return self._flow is not None

    def hold(self, flow: Callable[[Any], None], message: Any) -> None:
        """Hold a message back, in place of the one before.

        Args:
            flow: what `Later` gives: lets the message flow on.
        """
        self._flow, self._message = flow, message

    def release(self) -> None:
        """Let the message flow on now, if there is one."""
        flow, message = self._flow, self._message
        self.forget()
        if flow is not None:
            flow(message)

    def forget(self) -> None:
        """Drop the message: its client has left."""
        self.cancel()
        self.cancel = _nothing
        self._flow = self._message = None


class Kept(Generic[Slot]):
    """Something for each key, in the order of `put`. Beyond a number of keys, the oldest is evicted.

    What clients do not share is kept in their state, and is gone with them.

    Args:
        by: the option of the filter.
        evicted: called with what is evicted.
        left: called with what was kept for a client that has left.
    """

    def __init__(
        self, by: Key, evicted: Callable[[Slot], object] = _nothing, left: Callable[[Slot], object] = _nothing
    ) -> None:
        self._by = by
        self._evicted = evicted
        self._left = left
        self._shared: OrderedDict[Hashable, Slot] = OrderedDict()
        self._most = MAX_KEYS_OF_CLIENT if by.per_client else MAX_KEYS

    def get(self, client: Client | None, key: Hashable) -> Slot | None:
        """What is kept for a key."""
        return self._of(client).get(key)

    def put(self, client: Client | None, key: Hashable, slot: Slot) -> None:
        """Keep something for a key, which becomes the newest."""
        slots = self._of(client)
        slots[key] = slot
        slots.move_to_end(key)
        if len(slots) > self._most:
            self._evicted(slots.popitem(last=False)[1])

    def remove(self, client: Client | None, key: Hashable) -> None:
        """Keep nothing for a key."""
        self._of(client).pop(key, None)

    def tidy(self, client: Client | None, over: Callable[[Slot], bool]) -> None:
        """Remove the oldest if they are over, at most two of them, so that no call is an expensive one."""
        slots = self._of(client)
        for _ in range(2):
            if not slots or not over(next(iter(slots.values()))):
                return
            slots.popitem(last=False)

    def _of(self, client: Client | None) -> OrderedDict[Hashable, Slot]:
        if client is None or not self._by.per_client:
            return self._shared
        # This object is the key, which no placeholder and no condition can name.
        state: dict[Any, Any] = client.state
        found: OrderedDict[Hashable, Slot] | None = state.get(self)
        if found is None:
            found = state[self] = OrderedDict()
            if self._left is not _nothing:
                client.defer(lambda: self._leave(client))
        return found

    def _leave(self, client: Client) -> None:
        for slot in self._of(client).values():
            self._left(slot)
