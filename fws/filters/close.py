"""`close`: the end of the connection."""

from __future__ import annotations

from typing import Annotated, Any, NoReturn

from fws import Client, Filter, Help, Publication
from fws import Close as Closing


class Close(Filter):
    """End the connection with a close code. What was sent before still goes out.

    On `data` and `message` the client's own connection ends, on `deliver` the receiver's. To refuse a client on
    `connect` there is `reject`.

    Example:
        message = ["when type == 'bye'", "close 1000 'good bye'"]
    """

    waits = False

    code: Annotated[int, Help("1000-1003, 1007-1014, or 3000-4999 for meanings of your own.")] = 1000
    reason: Annotated[str, Help("For the peer; cut at 123 bytes.")] = ""

    def __post_init__(self) -> None:
        Closing(self.code)

    def data(self, client: Client, data: bytes) -> NoReturn:
        raise Closing(self.code, self.reason)

    def message(self, client: Client, message: Any) -> NoReturn:
        raise Closing(self.code, self.reason)

    def deliver(self, client: Client, publication: Publication) -> NoReturn:
        raise Closing(self.code, self.reason)
