"""Sends each message to all connected clients, its sender included."""

from fws.classic.filters.base import WebSocketMessageFilter


class BroadcastMessageFilter(WebSocketMessageFilter):
    """Send a message to everybody."""

    @classmethod
    def filter(cls, web_socket_instance, data):
        for user in web_socket_instance.users.values():
            user.sendMessage(data)
