"""Prints the messages that arrive."""

import sys

from fws.classic.filters.base import WebSocketMessageFilter

# Characters that could move the cursor of a terminal, or end the line.
CONTROLS = {number: f"\\x{number:02x}" for number in (*range(0x20), *range(0x7F, 0xA0))}


class StdoutMessageFilter(WebSocketMessageFilter):
    """Print each message in one line below a title, with control characters escaped."""

    @classmethod
    def filter(cls, web_socket_instance, data):
        text = bytes(data).decode("utf-8", "backslashreplace").translate(CONTROLS)
        sys.stdout.write(f"--MESSAGE--\n{text}\n")
        sys.stdout.flush()
