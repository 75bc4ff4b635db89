"""`leave`: end a client's membership in a channel."""

from __future__ import annotations

from typing import Annotated, Any

from fws import Client, Filter, Help


class Leave(Filter):
    """End the client's membership in a channel. It has no effect if the client is not a member.

    On `message`, which flows on. A client that disconnects leaves all its channels automatically.

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
