"""`join`: make the client a member of a channel."""

from __future__ import annotations

from typing import Annotated, Any

from fws import DROP, Client, Help, Reject
from fws.filters._allow import Allow


class Join(Allow):
    """Make the client a member of a channel. It gets all publications there until it leaves or disconnects.

    On `connect` and on `message`, which flows on. Joining a second time has no effect. An invalid channel name (empty,
    more than 200 bytes, control characters, `*`, `?`, `[`), which a placeholder may result in, refuses the client with
    400 on `connect`, and ends the event on `message`.

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
