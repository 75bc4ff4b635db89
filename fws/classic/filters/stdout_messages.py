"""Prints the messages that arrive."""

import sys

from fws.classic.filters.base import WebSocketMessageFilter


class StdoutMessageFilter(WebSocketMessageFilter):
    """Print each message, a title above."""

    @classmethod
    def filter(cls, web_socket_instance, data):
        sys.stdout.write(f"--MESSAGE--\n{bytes(data).decode('utf-8', 'backslashreplace')}\n")
        sys.stdout.flush()
