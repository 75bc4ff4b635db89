"""Keys of messages: a message whose key was used lately is not published again, on whichever node."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from gevent import sleep
from gevent.event import AsyncResult

from fws.base.errors import StorageError
from fws.channels.filtering import Told
from fws.channels.waiting import PATIENCE, position_in
from fws.pipeline.publication import Position
from fws.pipeline.storage import Storage
from fws.runtime.context import Context

# Seconds for which a key is remembered.
ONCE = 300.0
# Seconds between two looks at a key whose message is being published.
LOOK = 0.05
# What is stored for a key: its message is being published; it was published, and its position is not known, or it has
# none. Otherwise it is the position.
_PENDING = "?"
_PUBLISHED = "1"


class Once:
    """Remembers in the storage which keys were used, and where their messages are. Its methods may block.

    Each raises StorageError if the storage cannot be asked. Nothing is published then.
    """

    def __init__(self, storage: Storage, context: Context) -> None:
        self._storage = storage
        self._scheduler = context.scheduler
        self._metrics = context.metrics

    def is_new(self, channel: str, key: str) -> bool:
        """Use a key. Returns whether it was not used lately."""
        return self._storage.compare_and_set(_name(channel, key), None, _PUBLISHED, ONCE)

    def publish(self, channel: str, key: str, publish: Callable[[Told], None]) -> Position | None:
        """Publish a message unless its key was used lately. Returns the position of the one that was published.

        If a message with this key is being published, on whichever node, this call blocks until that is decided.

        Raises:
            StorageError: it is not known whether a message with this key was published. The call can be repeated.
        """
        name = _name(channel, key)
        found = self._begin(name)
        if found != _PENDING:
            return Position.parse(found)
        answer = AsyncResult()
        try:
            publish(lambda *decision: answer.set(decision))
            return position_in(answer)
        except StorageError:
            raise  # it may still be published
        except BaseException:  # a filter may raise anything
            answer.set((None, "it cannot be published"))
            raise
        finally:
            if answer.ready():
                self._conclude(name, answer)
            else:
                answer.rawlink(lambda answer: self._scheduler.spawn(self._conclude, name, answer))

    def _begin(self, name: str) -> str:
        """Use a key. Returns what is stored for it; `_PENDING` if it was not used lately."""
        for _ in range(round(PATIENCE / LOOK)):
            if self._storage.compare_and_set(name, None, _PENDING, ONCE):
                return _PENDING
            found = self._storage.get(name)
            if found is not None and found != _PENDING:
                return found
            sleep(LOOK)
        raise StorageError("a message with this key is being published, and it is not known whether it was")

    def _conclude(self, name: str, answer: Any) -> None:
        """It is decided whether a message was published. One that was not may be tried again."""
        position, lost = answer.value
        try:
            if lost:
                self._storage.delete(name)
            else:
                self._storage.set(name, _PUBLISHED if position is None else str(position), ONCE)
        except StorageError:
            # The message will not be published again for 5 minutes, which is what the key is for.
            self._metrics.count("keys_unconcluded")


def _name(channel: str, key: str) -> str:
    # A hash, because keys of the storage are bounded and clients may choose this one.
    text = f"{channel}\n{key}"
    return f"once:{sha256(text.encode('utf-8', 'replace')).hexdigest()}"
