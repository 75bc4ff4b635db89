"""`echo`: send the message back to its sender."""

from __future__ import annotations

from typing import Any

from fws import Client, Filter


class Echo(Filter):
    """Send the message back to the client that sent it.

    On `message`. Text is sent as text, bytes as a binary message, and any other value as JSON text. The message flows
    on.

    Example:
        message = ["echo"]
    """

    waits = False

    def message(self, client: Client, message: Any) -> None:
        client.send(message)
