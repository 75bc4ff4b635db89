"""The older API's storage objects: named sets and a way to publish, over the storage that all of fws has."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fws.pipeline.storage import Storage
from fws.storages.memory import MemoryStorage


class Members(set[str]):
    """The members of a named set as they were when they were read. What is added or removed here is so there too."""

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
        """Raises KeyError when it is not there, as any set does."""
        if as_text(member) not in self:
            raise KeyError(member)
        self.discard(member)


class StorageObject:
    """Named sets of text.

    Args:
        sets: where they are kept.
        publish: what `publish` does with the channel's name and the data.

    Methods raise `StorageError` when the storage cannot be asked or is full, ValueError for a name that is empty or
    longer than 512 bytes.
    """

    def __init__(self, sets: Storage, publish: Callable[[str, str | bytes], object]) -> None:
        self._sets = sets
        self._publish = publish

    def get(self, name: Any) -> Members:
        """The members of a set; empty when there is no such set."""
        key = as_text(name)
        return Members(self, key, self._sets.members(key))

    def __getitem__(self, name: Any) -> Members:
        return self.get(name)

    def add(self, name: Any, member: Any) -> None:
        """Put a member into a set."""
        self._sets.add(as_text(name), as_text(member))

    def remove(self, name: Any, member: Any) -> None:
        """Take a member out of a set; no harm if it is not there."""
        self._sets.remove(as_text(name), as_text(member))

    def publish(self, channel: Any, data: Any) -> None:
        """Publish text or bytes to a channel: consumers get it, on every server that hears the channel."""
        self._publish(as_text(channel), bytes(data) if isinstance(data, bytes | bytearray) else as_text(data))


class DefaultStorageObject(StorageObject):
    """Named sets in this process, at most 64 MiB. What is published goes to those who `listen`: the server's queue."""

    def __init__(self) -> None:
        super().__init__(MemoryStorage(time.monotonic), self._tell)
        self._listeners: list[Callable[[str, str | bytes], object]] = []

    def listen(self, listener: Callable[[str, str | bytes], object]) -> None:
        """Called with channel and data of what is published from now on."""
        self._listeners.append(listener)

    def _tell(self, channel: str, data: str | bytes) -> None:
        for listener in self._listeners:
            listener(channel, data)


def as_text(value: Any) -> str:
    """A name or a member as the sets hold it."""
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "replace")
    return str(value)
