"""Sends messages from pub/sub and items of the server's queue to all connected clients."""

from fws.classic.filters.base import WebSocketConsumerFilter


class BroadcastPubSubFilter(WebSocketConsumerFilter):
    """Send each item to everybody."""

    @classmethod
    def filter(cls, web_socket_instance, data):
        for user in web_socket_instance.users.values():
            user.sendMessage(data)
