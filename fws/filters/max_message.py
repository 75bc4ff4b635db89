"""`max_message`: limit the size of messages."""

from __future__ import annotations

from typing import Annotated, Any

from fws import Client, Filter, Help, Size
from fws.filters._refusal import Refusing, refuse
from fws.wire.encoding import json_bytes


class MaxMessage(Filter):
    """Refuse messages above a size.

    On `message`. The size of a text is its bytes in UTF-8. The size of a value that an earlier filter has made is that
    of its JSON text. Depending on `on_excess`, a message that is too large closes the connection with 1009, or is
    dropped, or is dropped and answered with `{"error": "…"}`. The setting `[limits] max_message` is checked before this
    one, and always closes the connection. In a protocol with calls, a call fails instead of being dropped.

    Example:
        message = ["max_message 4KiB on_excess=reply", "echo"]
    """

    waits = False

    size: Annotated[Size, Help("The largest message that flows on.")]
    on_excess: Annotated[Refusing, Help("How to treat a message that is too large.")] = "close"

    def message(self, client: Client, message: Any) -> Any:
        if isinstance(message, str):
            # `isascii` takes constant time.
            size = len(message) if message.isascii() else len(message.encode("utf-8", "replace"))
        else:
            size = len(message if isinstance(message, bytes) else json_bytes(message))
        if size > self.size:
            self.services.metrics.count("messages_over_size")
            return refuse(client, self.on_excess, 413, f"a message has at most {self.size} bytes")
        return None
