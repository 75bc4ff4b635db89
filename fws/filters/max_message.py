"""`max_message`: a limit on what filters behind it get."""

from __future__ import annotations

from typing import Annotated, Any

from fws import Client, Filter, Help, Size
from fws.base.close_codes import TOO_BIG
from fws.filters._refusal import Refusing, refuse
from fws.wire.encoding import json_bytes


class MaxMessage(Filter):
    """Refuse messages over a size.

    On `message`. Text counts in bytes of UTF-8, a value that an earlier filter made as its JSON text. As `on_excess`
    says, a message that is too big closes the connection with 1009, or is dropped, or is dropped and answered with
    `{"error": "…"}`. The server's own limit, the setting `max_message`, holds before this one and always closes.

    Example:
        message = ["max_message 4KiB on_excess=reply", "echo"]
    """

    waits = False

    size: Annotated[Size, Help("Largest message that flows on.")]
    on_excess: Annotated[Refusing, Help("What becomes of a message that is too big.")] = "close"

    def message(self, client: Client, message: Any) -> Any:
        if isinstance(message, str):
            # `isascii` only reads a mark of the string.
            size = len(message) if message.isascii() else len(message.encode("utf-8", "replace"))
        else:
            size = len(message if isinstance(message, bytes) else json_bytes(message))
        if size > self.size:
            self.services.metrics.count("messages_over_size")
            return refuse(client, self.on_excess, TOO_BIG, f"a message has at most {self.size} bytes")
        return None
