"""Prints what arrives by pub/sub, or through the server's queue."""

import sys

from fws.classic.filters.base import WebSocketConsumerFilter


class StdoutPubSubFilter(WebSocketConsumerFilter):
    """Print what is consumed, a title above."""

    @classmethod
    def filter(cls, web_socket_instance, data):
        sys.stdout.write(f"--PUBSUB--\n{data}\n")
        sys.stdout.flush()
