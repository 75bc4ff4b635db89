"""The older API's storage objects: named sets, in memory or in Redis, and a way to publish."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class DefaultStorageObject:
    """Named sets in this process. What is published goes to whoever `listen` was given, the server's queue."""

    def __init__(self) -> None:
        self._sets: dict[str, set[str]] = {}
        self._listeners: list[Callable[[str], object]] = []

    def get(self, name: Any) -> set[str]:
        """The members of a set; empty when there is no such set."""
        return set(self._sets.get(as_text(name), ()))

    def __getitem__(self, name: Any) -> set[str]:
        return self.get(name)

    def add(self, name: Any, member: Any) -> None:
        """Put a member into a set."""
        self._sets.setdefault(as_text(name), set()).add(as_text(member))

    def remove(self, name: Any, member: Any) -> None:
        """Take a member out of a set; no harm if it is not there."""
        members = self._sets.get(as_text(name))
        if members is not None:
            members.discard(as_text(member))
            if not members:
                del self._sets[as_text(name)]

    def publish(self, channel: Any, data: Any) -> None:
        """Hand data to the server's own queue: in memory there is nobody else, whatever the channel."""
        for listener in self._listeners:
            listener(as_text(data))

    def listen(self, listener: Callable[[str], object]) -> None:
        """Called with what is published from now on."""
        self._listeners.append(listener)


def as_text(value: Any) -> str:
    """A name or a member as the sets hold it."""
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "replace")
    return str(value)
