"""`echo`: back to the sender."""

from __future__ import annotations

from typing import Any

from fws import Client, Filter


class Echo(Filter):
    """Send the message back to the client it came from.

    On `message` the client gets what flows: text as text, bytes as bytes, any other value as JSON text. It flows on.

    Example:
        message = ["echo"]
    """

    waits = False

    def message(self, client: Client, message: Any) -> None:
        client.send(message)
