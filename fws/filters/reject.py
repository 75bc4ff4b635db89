"""`reject`: no connection, no subscription, no call."""

from __future__ import annotations

from typing import Annotated, Any, NoReturn

from fws import Client, Filter, Help
from fws import Reject as Rejection
from fws.pipeline.call import MESSAGE
from fws.pipeline.outcomes import DROP


class Reject(Filter):
    """Refuse what a client asks for, with an HTTP status.

    On `connect`, the client gets the status instead of the upgrade, and memberships from earlier filters end. On
    `subscribe`, it does not get the channel. On `message`, its call fails with the reason, in a protocol with calls
    such as `centrifuge`; in the protocol `raw`, the connection ends with 4000 plus the status as its close code.

    Example:
        connect = ["reject 503 'Back at noon.'"]
        message = ["reject 404 'There is no such method.'"]
    """

    waits = False

    status: Annotated[int, Help("HTTP status, 400 to 599.")] = 403
    reason: Annotated[
        str, Help("One sentence for the person at the other end. It becomes the body of the response.")
    ] = ""

    def __post_init__(self) -> None:
        Rejection(self.status)

    def connect(self, client: Client) -> NoReturn:
        raise self._rejection

    def subscribe(self, client: Client, channel: str) -> NoReturn:
        raise self._rejection

    def message(self, client: Client, message: Any) -> Any:
        if client.call is not MESSAGE:
            raise self._rejection
        client.refuse(self._rejection)
        return DROP

    @property
    def _rejection(self) -> Rejection:
        return Rejection(self.status, self.reason)
