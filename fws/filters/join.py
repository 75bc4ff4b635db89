"""`join`: become a member of a channel."""

from __future__ import annotations

from typing import Annotated, Any

from fws import DROP, Client, Help, Reject
from fws.filters._allow import Allow


class Join(Allow):
    """Make the client a member of a channel: it gets what is published there, until it leaves or is gone.

    On `connect` and on `message`, which flows on. Joining twice is joining once. A name that no channel can have
    (empty, over 200 bytes, control characters, `*`, `?`, `[`), such as a placeholder may give, refuses the client with
    400 on `connect` and ends the event on `message`.

    Example:
        connect = ["join lobby"]
    """

    channel: Annotated[str, Help("Channel to join.")]

    def connect(self, client: Client) -> None:
        self._ask(client)
        try:
            client.join(self.channel)
        except ValueError as error:
            raise Reject(400, f"This channel cannot be joined: {error}.") from None
        if self.allow is not None:
            client.when_renewed(self._ask)

    def _ask(self, client: Client) -> None:
        if not self.allows(client, None, self.channel):
            raise Reject(403, "This channel is not for you.")

    def message(self, client: Client, message: Any) -> Any:
        if not self.allows(client, message, self.channel):
            return DROP
        try:
            return client.join(self.channel)
        except ValueError:
            return DROP
