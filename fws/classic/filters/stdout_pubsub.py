"""Prints messages from pub/sub and items of the server's queue."""

import sys

from fws.classic.filters.base import WebSocketConsumerFilter


class StdoutPubSubFilter(WebSocketConsumerFilter):
    """Print each item below a title."""

    @classmethod
    def filter(cls, web_socket_instance, data):
        sys.stdout.write(f"--PUBSUB--\n{data}\n")
        sys.stdout.flush()
