"""`broadcast_by_token`: groups in which clients register themselves."""

from __future__ import annotations

from typing import Annotated, Any

from fws import DROP, Client, Filter, Help

PREFIX = "token:"


class BroadcastByToken(Filter):
    """Send a client's messages to the members of its group.

    On `message`, the text `token:NAME` registers the client in the group NAME instead of its previous group, and does
    not flow on. Later messages go to all clients of that group on every node, including the client itself. A message of
    a client without a group is dropped. So is a name that cannot be a channel.

    The ids of a group's clients are a set `token:NAME` in the storage, where other applications find them. The group's
    channel has the same name. A client that disconnects is removed from the set, unless its node is killed or the
    storage cannot be reached at that time. If the storage cannot be reached, registering fails, and the client stays in
    its group.

    Example:
        message = ["broadcast_by_token"]
    """

    to: Annotated[str, Help("Goes before the names of groups in keys and channels.")] = PREFIX

    def message(self, client: Client, message: Any) -> Any:
        if isinstance(message, str) and message.startswith(PREFIX):
            self._register(client, message.removeprefix(PREFIX).strip())
            return DROP
        state: dict[Any, Any] = client.state
        place: _Place | None = state.get(self)
        if place is None or place.group is None:
            return DROP
        self.hub.publish(place.group, message, sender=client.id)
        return None

    def _register(self, client: Client, name: str) -> None:
        state: dict[Any, Any] = client.state
        place: _Place | None = state.get(self)
        if place is None:
            place = state[self] = _Place()
            client.defer(lambda: self._forget(client, place, place.noted))
        group = self.to + name
        if not name or group == place.group:
            return
        # Sets that could not be updated before come first, so that a client is in at most three sets.
        self._forget(client, place, place.noted - {place.group, group})
        try:
            client.join(group)
        except ValueError:
            return
        place.noted.add(group)
        try:
            self.storage.add(group, client.id)
        except BaseException:
            client.leave(group)
            raise
        before, place.group = place.group, group
        if before is not None:
            client.leave(before)
            self._forget(client, place, {before})

    def _forget(self, client: Client, place: _Place, groups: set[str]) -> None:
        """Remove the client's id from the sets of groups. If it raises StorageError, the remaining sets are still
        noted.
        """
        for group in tuple(groups):
            self.storage.remove(group, client.id)
            place.noted.discard(group)


class _Place:
    """The group of a client.

    Attributes:
        noted: the groups whose sets may have the client's id. After a failure this is not known, so that the id is
            removed to be safe.
    """

    __slots__ = ("group", "noted")

    def __init__(self) -> None:
        self.group: str | None = None
        self.noted: set[str] = set()
