"""What a filter keeps for each key of its option `by`: marks, and messages that it holds back. It knows no clock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Annotated, Any, Generic, TypeVar

from msgspec import Meta

from fws import Client, Help, Size
from fws.filters._key import Key
from fws.wire.encoding import json_bytes, weight_of

# The most keys that are kept. A client may have fewer of its own, because there may be many clients.
MAX_KEYS = 10_000
MAX_KEYS_OF_CLIENT = 100

# The most bytes of messages that are held back for one client, and for all who share keys.
MEMORY_OF_CLIENT = 1024 * 1024
MEMORY = 16 * 1024 * 1024

# About the bytes that Python takes for each object, list and item, besides what is written in JSON. An empty object has
# two characters, and takes 30 times as many bytes.
EACH = 64
_MARKS = (b"{", b"[", b",", b":")

Memory = Annotated[
    Annotated[Size, Meta(ge=1)] | None,
    Help(
        "About the most bytes of messages that are held back; the default is 1MiB for each client, or 16MiB for all "
        "together if `by` has no client."
    ),
]
"""The option of filters that hold messages back for each key."""

Slot = TypeVar("Slot")


def memory_of(option: int | None, by: Key) -> int:
    """The most bytes that are held back for each client, or for all who share keys."""
    if option is not None:
        return option
    return MEMORY_OF_CLIENT if by.per_client else MEMORY


def _nothing(*arguments: Any) -> None:
    pass


def size_of(message: Any, most: int) -> int:
    """About the memory that a message takes while it is held back, in bytes.

    Args:
        most: the size of what cannot be written as JSON, such as an object of a filter. Nobody can tell how much it is.
    """
    if isinstance(message, str | bytes):
        return weight_of(message)
    try:
        data = json_bytes(message)
    except TypeError:
        return most
    # Marks within texts are counted, too. To tell them apart would take longer than it is worth.
    return len(data) + EACH * sum(map(data.count, _MARKS))


class Held:
    """A message that a filter holds back for one key, and the timer that will let it flow on.

    Attributes:
        cancel: cancels the timer.
    """

    __slots__ = ("_flow", "_message", "_room", "cancel")

    def __init__(self) -> None:
        self._flow: Callable[[Any], None] | None = None
        self._message: Any = None
        self._room: Room | None = None
        self.cancel: Callable[[], None] = _nothing

    @property
    def holds(self) -> bool:
        """Whether there is a message."""
        return self._flow is not None

    def hold(self, flow: Callable[[Any], None], message: Any, room: Room, most: int) -> list[Any]:
        """Hold a message back, in place of the one before.

        Args:
            flow: what `Later` gives: lets the message flow on.
            room: where it takes room.
            most: the most bytes that are held back there.

        Returns:
            The messages that have to flow on now to make room.
        """
        self._flow, self._message, self._room = flow, message, room
        return room.take(self, size_of(message, most), most)

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
        if self._room is not None:
            self._room.leave(self)
        self._flow = self._message = self._room = None


class Room:
    """The room that messages take which are held back for one client, or for all who share keys."""

    __slots__ = ("_sizes", "_taken")

    def __init__(self) -> None:
        # The key that was silent for the longest time is the first.
        self._sizes: OrderedDict[Held, int] = OrderedDict()
        self._taken = 0

    def take(self, held: Held, size: int, most: int) -> list[Held]:
        """A message takes room. While all together have more than `most` bytes, the oldest of the others have to go.

        The message itself stays, however large it is, or a client could evade the filter with large messages.

        Returns:
            Those that have to go. They do not take room any more.
        """
        self.leave(held)
        self._sizes[held] = size
        self._taken += size
        gone = []
        while self._taken > most and len(self._sizes) > 1:
            oldest, freed = self._sizes.popitem(last=False)
            self._taken -= freed
            gone.append(oldest)
        return gone

    def leave(self, held: Held) -> None:
        """A message does not take room any more."""
        self._taken -= self._sizes.pop(held, 0)


class Slots(OrderedDict[Hashable, Slot]):
    """What is kept for the keys of one client, or for those that all share.

    Attributes:
        room: for the messages among it; None until there is one.
    """

    room: Room | None = None


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
        self._shared: Slots[Slot] = Slots()
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

    def room(self, client: Client | None) -> Room:
        """The room for messages of a client that are held back."""
        slots = self._of(client)
        if slots.room is None:
            slots.room = Room()
        return slots.room

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

    def _of(self, client: Client | None) -> Slots[Slot]:
        if client is None or not self._by.per_client:
            return self._shared
        # This object is the key, which no placeholder and no condition can name.
        state: dict[Any, Any] = client.state
        found: Slots[Slot] | None = state.get(self)
        if found is None:
            found = state[self] = Slots()
            if self._left is not _nothing:
                client.defer(lambda: self._leave(client))
        return found

    def _leave(self, client: Client) -> None:
        for slot in self._of(client).values():
            self._left(slot)
