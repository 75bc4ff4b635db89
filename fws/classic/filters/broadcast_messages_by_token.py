"""Sends each message to the clients with the same token; `token:NAME` as a message sets a client's."""

from fws.classic.filters.base import WebSocketDisconnectFilter, WebSocketMessageFilter

PREFIX = b"token:"


class BroadcastMessagesByTokenFilter(WebSocketMessageFilter):
    """Register a client's token, or send its message to those who have the same.

    The ids of who has a token are a set of the storage object, under the token. A client that has none, nor the server
    a default one, reaches nobody.
    """

    @classmethod
    def filter(cls, web_socket_instance, data):
        storage = web_socket_instance.storage_object
        if data.startswith(PREFIX):
            forget(web_socket_instance)
            web_socket_instance.token = bytes(data[len(PREFIX) :]).decode("utf-8", "replace").strip()
            storage.add(web_socket_instance.token, web_socket_instance.id)
            return
        token = web_socket_instance.token
        if token is None:
            return
        storage.add(token, web_socket_instance.id)  # of a default token nobody has told yet
        users = web_socket_instance.users
        for member in storage.get(token):
            if member in users:
                users[member].sendMessage(data)


class ForgetTokenFilter(WebSocketDisconnectFilter):
    """Forget the token of a client that is gone."""

    @classmethod
    def filter(cls, web_socket_instance):
        forget(web_socket_instance)


def forget(web_socket_instance):
    """Take a client out of the set of its token."""
    if web_socket_instance.token is not None:
        web_socket_instance.storage_object.remove(web_socket_instance.token, web_socket_instance.id)
