"""`count`: a counter that all nodes share."""

from __future__ import annotations

from typing import Annotated, Any

from fws import DROP, Client, Filter, Help, Reject
from fws.filters._stored import Lasting


class Count(Filter):
    """Add to a counter of the storage, and put what it is now into the message, if asked to.

    On `connect`, `message` and `disconnect`. With `per` the counter begins anew that long after it began. `into` needs
    a message that is an object; another flows on unchanged. To count who is here, put it behind whatever may refuse a
    client: one that is refused has no `disconnect`. A node that ends in an instant cannot count down for its clients.

    A key that is empty or longer than 512 bytes, such as a placeholder may give, ends the event; on `connect` it
    refuses the client with 400. When the storage cannot be asked the message is dropped and counted, and `connect`
    refuses the client with 503.

    Example:
        connect    = ["count online"]
        message    = ["json", "count messages per=1min into=number", "broadcast"]
        disconnect = ["count online by=-1"]
    """

    key: Annotated[str, Help("Key of the counter.")]
    by: Annotated[int, Help("What is added.")] = 1
    per: Annotated[Lasting | None, Help("Time after which the counter begins anew.")] = None
    into: Annotated[str, Help("Message field that gets the number.")] = ""

    def connect(self, client: Client) -> None:
        if self._count() is None:
            raise Reject(400, "Nothing can be counted under this name.")

    def message(self, client: Client, message: Any) -> Any:
        number = self._count()
        if number is None:
            return DROP
        return {**message, self.into: number} if self.into and isinstance(message, dict) else None

    def disconnect(self, client: Client) -> None:
        self._count()

    def _count(self) -> int | None:
        """What the counter is now; None when it cannot have this key."""
        try:
            return self.storage.increment(self.key, self.by, self.per)
        except ValueError:
            return None
