"""The storage of the older API in Redis: plain sets and PUBLISH, which other applications can use too."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fws.base.errors import StorageError
from fws.classic.storage import StorageObject
from fws.redis.client import client_of
from fws.redis.connector import Connector, RedisError, reason
from fws.storages.redis import RedisStorage


class RedisStorageObject(StorageObject):
    """Named sets in Redis, shared by all servers and other applications. A channel has the same name in Redis.

    Args:
        host, port: the address of the Redis server.
        key: goes before the name of each set, followed by a colon. With an empty key nothing goes before it.
        password: if Redis requires one.

    The constructor does not connect.
    """

    def __init__(self, host: str = "localhost", port: int = 6379, key: str = "fws", password: str = "") -> None:
        user = f":{quote(password, safe='')}@" if password else ""
        self.url = f"redis://{user}{f'[{host}]' if ':' in host else host}:{port}/0"
        self._connector = Connector(self.url)
        self._client: Any = None
        super().__init__(RedisStorage(self._connector, f"{key}:" if key else ""), self._tell)

    def _tell(self, channel: str, data: str | bytes) -> None:
        try:
            if self._client is None:
                self._client = client_of(self._connector)
            self._client.publish(channel, data)
        except (RedisError, OSError) as error:
            raise StorageError(f"Redis cannot be asked: {reason(error)}") from None
