"""`reply`: a fixed message to the client."""

from __future__ import annotations

from typing import Annotated, Any

from fws import Client, Filter, Help, Takes


class Reply(Filter):
    """Send a message of the server's own to the client.

    On `connect` it is the first thing the client gets; on `message` it is sent and the client's message flows on: put
    `drop` behind it to end there. Text is sent as it is, any other value as JSON text.

    Placeholders in a text are filled in as they are. Where the text is JSON and a client chooses what they hold, give
    a table in [filters.NAME] instead: each value in it stays one value.

    Example:
        connect = ["reply {\\"type\\": \\"welcome\\", \\"id\\": \\"{client.id}\\"}"]
        message = ["reply Nobody listens here.", "drop"]
    """

    waits = False

    value: Annotated[Any, Help("What to send: text, or any JSON value in a table."), Takes("rest")]

    def connect(self, client: Client) -> None:
        client.send(self.value)

    def message(self, client: Client, message: Any) -> None:
        client.send(self.value)
