"""Sends each message to the clients with the same token. The message `token:NAME` sets a client's token."""

from fws.classic.filters.base import WebSocketDisconnectFilter, WebSocketMessageFilter

PREFIX = b"token:"


class BroadcastMessagesByTokenFilter(WebSocketMessageFilter):
    """Set a client's token, or send its message to the clients with the same token.

    The ids of the clients with a token are a set of the storage object under that token. Messages reach nobody if
    neither the client nor the server has a token.
    """

    @classmethod
    def filter(cls, web_socket_instance, data):
        storage = web_socket_instance.storage_object
        if data.startswith(PREFIX):
            token = bytes(data[len(PREFIX) :]).decode("utf-8", "replace").strip()
            if token:
                storage.add(token, web_socket_instance.id)
                if token != web_socket_instance.token:
                    forget(web_socket_instance)
                web_socket_instance.token = token
            return
        token = web_socket_instance.token
        if token is None:
            return
        members = storage.get(token)
        if web_socket_instance.id not in members:  # the default token has not been stored yet
            members.add(web_socket_instance.id)
        users = web_socket_instance.users
        for member in members:
            if member in users:
                users[member].sendMessage(data)


class ForgetTokenFilter(WebSocketDisconnectFilter):
    """Remove the token of a client that has disconnected."""

    @classmethod
    def filter(cls, web_socket_instance):
        forget(web_socket_instance)


def forget(web_socket_instance):
    """Remove a client from the set of its token."""
    if web_socket_instance.token is not None:
        web_socket_instance.storage_object.remove(web_socket_instance.token, web_socket_instance.id)
