"""`reply`: send a fixed message to the client."""

from __future__ import annotations

from typing import Annotated, Any

from fws import Client, Filter, Help, Takes


class Reply(Filter):
    """Send a message of the server's own to the client.

    On `connect`, this is the first message that the client gets. On `message`, the client's message flows on; put
    `drop` after this filter to end there. Text is sent as it is, and any other value as JSON text.

    Placeholders in a text are replaced without quoting. If the text is JSON and clients choose the values, write a
    table in [filters.NAME] instead, in which each value stays a single value.

    Example:
        connect = ["reply {\\"type\\": \\"welcome\\", \\"id\\": \\"{client.id}\\"}"]
        message = ["reply Nobody listens here.", "drop"]
    """

    waits = False

    value: Annotated[Any, Help("The message: text, or any JSON value in a table."), Takes("rest")]

    def connect(self, client: Client) -> None:
        client.send(self.value)

    def message(self, client: Client, message: Any) -> None:
        client.send(self.value)
