"""`reject`: no connection."""

from __future__ import annotations

from typing import Annotated, NoReturn

from fws import Client, Filter, Help
from fws import Reject as Rejection


class Reject(Filter):
    """Refuse the client with an HTTP status instead of the upgrade.

    On `connect`. Memberships from earlier filters end.

    Example:
        connect = ["reject 503 'Back at noon.'"]
    """

    waits = False

    status: Annotated[int, Help("HTTP status, 400 to 599.")] = 403
    reason: Annotated[
        str, Help("One sentence for the person at the other end. It becomes the body of the response.")
    ] = ""

    def __post_init__(self) -> None:
        Rejection(self.status)

    def connect(self, client: Client) -> NoReturn:
        raise Rejection(self.status, self.reason)
