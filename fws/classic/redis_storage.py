"""The older API's storage in Redis: plain sets and PUBLISH, for whoever else uses them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fws.classic.storage import as_text
from fws.errors import StorageError
from fws.link import Link, RedisError, reason
from fws.storages.redis import RedisStorage


class RedisStorageObject:
    """Named sets in Redis, shared by all servers and other applications.

    Args:
        host, port: of the Redis server.
        key: what stands before each set's name, with a colon between; nothing when it is empty.
        password: when it wants one.

    Methods raise `StorageError` when Redis cannot be asked.
    """

    def __init__(self, host: str = "localhost", port: int = 6379, key: str = "", password: str = "") -> None:
        user = f":{quote(password, safe='')}@" if password else ""
        self.url = f"redis://{user}{host}:{port}/0"
        link = Link(self.url)
        self._sets = RedisStorage(link, f"{key}:" if key else "")
        self._link = link
        self._client: Any = None

    def get(self, name: Any) -> set[str]:
        """The members of a set; empty when there is no such set."""
        return self._sets.members(as_text(name))

    def __getitem__(self, name: Any) -> set[str]:
        return self.get(name)

    def add(self, name: Any, member: Any) -> None:
        """Put a member into a set."""
        self._sets.add(as_text(name), as_text(member))

    def remove(self, name: Any, member: Any) -> None:
        """Take a member out of a set; no harm if it is not there."""
        self._sets.remove(as_text(name), as_text(member))

    def publish(self, channel: Any, data: Any) -> None:
        """Publish to a Redis channel, under its own name: every server that listens there gets it, this one too."""
        try:
            if self._client is None:
                self._client = self._link.client()
            self._client.publish(
                as_text(channel), bytes(data) if isinstance(data, bytes | bytearray) else as_text(data)
            )
        except (RedisError, OSError) as error:
            raise StorageError(f"Redis cannot be asked: {reason(error)}") from None
