"""Sends what arrives by pub/sub, or through the server's queue, to all connected clients."""

from fws.classic.filters.base import WebSocketConsumerFilter


class BroadcastPubSubFilter(WebSocketConsumerFilter):
    """Send what is consumed to everybody."""

    @classmethod
    def filter(cls, web_socket_instance, data):
        for user in web_socket_instance.users.values():
            user.sendMessage(data)
