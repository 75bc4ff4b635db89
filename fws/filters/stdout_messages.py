"""`stdout_messages`: the messages that arrive, on standard output."""

from __future__ import annotations

from typing import Any

from fws import Client, Filter
from fws.filters._shown import shown
from fws.filters._stdout import MAX_SHOWN, write


class StdoutMessages(Filter):
    """Print the messages that clients send.

    On `message`: a line `--MESSAGE--`, then the first 4,096 characters of the message in one line, control characters
    escaped; it flows on. For looking at a protocol, not for production: the server waits while the output is read
    slowly.

    Example:
        message = ["stdout_messages"]
    """

    waits = False

    def message(self, client: Client, message: Any) -> None:
        write("MESSAGE", shown(message, MAX_SHOWN))
