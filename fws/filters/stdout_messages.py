"""`stdout_messages`: print messages to standard output."""

from __future__ import annotations

from typing import Any

from fws import Client, Filter
from fws.filters._shown import shown
from fws.filters._stdout import MAX_SHOWN, write


class StdoutMessages(Filter):
    """Print the messages that clients send.

    On `message`. The output is a line `--MESSAGE--`, and then the first 4,096 characters of the message in one line,
    with control characters escaped. The message flows on. Use this to look at a protocol, and not in production: if the
    output is read slowly, the server waits.

    Example:
        message = ["stdout_messages"]
    """

    waits = False

    def message(self, client: Client, message: Any) -> None:
        write("MESSAGE", shown(message, MAX_SHOWN))
