"""`leave`: stop being a member of a channel."""

from __future__ import annotations

from typing import Annotated, Any

from fws import Client, Filter, Help


class Leave(Filter):
    """End the client's membership in a channel; no harm if it had none.

    On `message`, which flows on. A client that goes leaves all its channels by itself.

    Example:
        message = ["json", "leaving"]

        [filters.leaving]
        use = "switch"
        key = "type"
        [filters.leaving.case]
        leave = ["leave lobby"]
    """

    waits = False

    channel: Annotated[str, Help("Channel to leave.")]

    def message(self, client: Client, message: Any) -> None:
        client.leave(self.channel)
