"""The storage objects of the older API: named sets and publishing, on top of the storage of fws."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fws.pipeline.storage import Storage
from fws.storages.memory import MemoryStorage


class Members(set[str]):
    """The members of a named set at the time when they were read. Changes of this object also change the storage."""

    def __init__(self, storage_object: StorageObject, name: str, members: set[str]) -> None:
        super().__init__(members)
        self._storage_object = storage_object
        self._name = name

    def add(self, member: Any) -> None:
        self._storage_object.add(self._name, member)
        super().add(as_text(member))

    def discard(self, member: Any) -> None:
        self._storage_object.remove(self._name, member)
        super().discard(as_text(member))

    def remove(self, member: Any) -> None:
        """Remove a member. Raises KeyError if it is not in the set, like any set."""
        if as_text(member) not in self:
            raise KeyError(member)
        self.discard(member)


class StorageObject:
    """Named sets of text.

    Args:
        sets: the storage that keeps the sets.
        publish: called by `publish` with the name of the channel and the data.

    Methods raise `StorageError` if the storage cannot be reached or is full, and ValueError for a name that is empty or
    longer than 512 bytes.
    """

    def __init__(self, sets: Storage, publish: Callable[[str, str | bytes], object]) -> None:
        self._sets = sets
        self._publish = publish

    def get(self, name: Any) -> Members:
        """The members of a set; empty if the set does not exist."""
        key = as_text(name)
        return Members(self, key, self._sets.members(key))

    def __getitem__(self, name: Any) -> Members:
        return self.get(name)

    def add(self, name: Any, member: Any) -> None:
        """Put a member into a set."""
        self._sets.add(as_text(name), as_text(member))

    def remove(self, name: Any, member: Any) -> None:
        """Remove a member from a set. Does nothing if it is not in the set."""
        self._sets.remove(as_text(name), as_text(member))

    def publish(self, channel: Any, data: Any) -> None:
        """Publish text or bytes to a channel. Consumers on every server that listens to the channel get it."""
        self._publish(as_text(channel), bytes(data) if isinstance(data, bytes | bytearray) else as_text(data))


class DefaultStorageObject(StorageObject):
    """Named sets in this process, up to 64 MiB. Publications go to the functions given to `listen`, such as the
    server's queue.
    """

    def __init__(self) -> None:
        super().__init__(MemoryStorage(time.monotonic), self._tell)
        self._listeners: list[Callable[[str, str | bytes], object]] = []

    def listen(self, listener: Callable[[str, str | bytes], object]) -> None:
        """Call `tell` with the channel and the data of each publication from now on."""
        self._listeners.append(listener)

    def _tell(self, channel: str, data: str | bytes) -> None:
        for listener in self._listeners:
            listener(channel, data)


def as_text(value: Any) -> str:
    """A name or a member in the form in which the sets keep it."""
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "replace")
    return str(value)
