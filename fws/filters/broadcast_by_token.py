"""`broadcast_by_token`: groups that clients register themselves in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fws import DROP, Filter, Help

if TYPE_CHECKING:
    from fws.client import Client

PREFIX = "token:"


class BroadcastByToken(Filter):
    """Send a client's messages to its group only.

    On `message`. A text `token:NAME` registers the client in the group NAME, in place of the one it was in, and goes no
    further; what it says afterwards goes to all clients of that group, on every node, itself included. A message of a
    client without a group is dropped, and so is a name that no channel can have.

    The ids of a group's clients are a set in the storage, `token:NAME`, where other applications find them; a client
    that leaves is forgotten there. Its channel has the same name. When the storage cannot be asked, registering fails:
    the client stays in the group that it was in.

    Example:
        message = ["broadcast_by_token"]
    """

    to: Annotated[str, Help("What stands before the names of groups, as keys and as channels.")] = PREFIX

    def message(self, client: Client, message: Any) -> Any:
        if isinstance(message, str) and message.startswith(PREFIX):
            self._register(client, message.removeprefix(PREFIX).strip())
            return DROP
        state: dict[Any, Any] = client.state
        group = state.get(self)
        if group is None:
            return DROP
        self.hub.publish(group, message, sender=client.id)
        return None

    def _register(self, client: Client, name: str) -> None:
        group = self.to + name
        state: dict[Any, Any] = client.state
        before = state.get(self)
        if not name or group == before:
            return
        try:
            client.join(group)
        except ValueError:
            return
        try:
            self.storage.add(group, client.id)
        except BaseException:
            client.leave(group)
            raise
        state[self] = group
        if before is None:
            client.defer(lambda: self._forget(client, state.get(self)))
        else:
            client.leave(before)
            self._forget(client, before)

    def _forget(self, client: Client, group: str | None) -> None:
        if group is not None:
            self.storage.remove(group, client.id)
