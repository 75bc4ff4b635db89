"""`count`: a counter that all nodes share."""

from __future__ import annotations

from typing import Annotated, Any

from fws import DROP, Client, Filter, Help, Reject
from fws.filters._stored import Lasting


class Count(Filter):
    """Add to a counter in the storage, and optionally put its new value into the message.

    On `connect`, `subscribe`, `message`, `unsubscribe`, `disconnect` and `tick`. With `per`, the counter restarts at 0
    that long after it began. `into` requires a message that is an object; others flow on unchanged. To count connected
    clients, put `count` after every filter that may refuse a client, because a refused client has no `disconnect`. If a
    node is killed, the counter is not decreased for its clients.

    An empty key or one of more than 512 bytes, which a placeholder may result in, ends the event. On `connect` and
    `subscribe` it refuses with 400. If the storage cannot be reached, the message is dropped and counted, and `connect`
    and `subscribe` refuse with 503.

    Example:
        connect    = ["count online"]
        message    = ["json", "count messages per=1min into=number", "broadcast"]
        disconnect = ["count online by=-1"]
    """

    key: Annotated[str, Help("Key of the counter.")]
    by: Annotated[int, Help("What is added.")] = 1
    per: Annotated[Lasting | None, Help("Time after which the counter restarts.")] = None
    into: Annotated[str, Help("Message field for the new value.")] = ""

    def connect(self, client: Client) -> None:
        if self._count() is None:
            raise Reject(400, "The counter's name is empty or too long.")

    def message(self, client: Client, message: Any) -> Any:
        return self.tick(message)

    def tick(self, message: Any) -> Any:
        number = self._count()
        if number is None:
            return DROP
        return {**message, self.into: number} if self.into and isinstance(message, dict) else None

    def subscribe(self, client: Client, channel: str) -> None:
        self.connect(client)

    def unsubscribe(self, client: Client, channel: str) -> None:
        self._count()

    def disconnect(self, client: Client) -> None:
        self._count()

    def _count(self) -> int | None:
        """The new value; None if the key is invalid."""
        try:
            return self.storage.increment(self.key, self.by, self.per)
        except ValueError:
            return None
