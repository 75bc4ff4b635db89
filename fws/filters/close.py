"""`close`: end the connection."""

from __future__ import annotations

from typing import Annotated, Any, NoReturn

from fws import Client, Filter, Help, Publication
from fws import Close as Closing


class Close(Filter):
    """End the connection with a close code. Messages that were sent before still arrive.

    On `data` and `message`, the connection of the client ends. On `deliver`, the connection of the receiver ends. To
    refuse a client on `connect`, use `reject`.

    Example:
        message = ["when type == 'bye'", "close 1000 'good bye'"]
    """

    waits = False

    code: Annotated[int, Help("Close code: 1000-1003, 1007-1014, or 3000-4999 with a meaning of your own.")] = 1000
    reason: Annotated[str, Help("Reason for the peer; cut at 123 bytes.")] = ""

    def __post_init__(self) -> None:
        Closing(self.code)

    def data(self, client: Client, data: bytes) -> NoReturn:
        raise Closing(self.code, self.reason)

    def message(self, client: Client, message: Any) -> NoReturn:
        raise Closing(self.code, self.reason)

    def deliver(self, client: Client, publication: Publication) -> NoReturn:
        raise Closing(self.code, self.reason)
