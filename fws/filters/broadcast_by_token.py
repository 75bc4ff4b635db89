"""`broadcast_by_token`: groups that clients register themselves in."""

from __future__ import annotations

from typing import Annotated, Any

from fws import DROP, Client, Filter, Help

PREFIX = "token:"


class BroadcastByToken(Filter):
    """Send a client's messages to its group only.

    On `message`. A text `token:NAME` registers the client in the group NAME, in place of the one it was in, and goes no
    further; what it says afterwards goes to all clients of that group, on every node, itself included. A message of a
    client without a group is dropped, and so is a name that no channel can have.

    The ids of a group's clients are a set in the storage, `token:NAME`, where other applications find them; a client
    that leaves is forgotten there. The ids of clients that are gone stay when their node ends in an instant, or when
    the storage cannot be asked as they leave. The group's channel has the same name. When the storage cannot be asked,
    registering fails: the client stays in the group that it was in.

    Example:
        message = ["broadcast_by_token"]
    """

    to: Annotated[str, Help("What stands before the names of groups, as keys and as channels.")] = PREFIX

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
        # What could not be forgotten before comes first: so a client is in three sets at the most.
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
        """Take the client's id out of the groups' sets. Raises StorageError with the rest still noted."""
        for group in tuple(groups):
            self.storage.remove(group, client.id)
            place.noted.discard(group)


class _Place:
    """Where a client is.

    Attributes:
        noted: the groups whose sets may hold its id. After a failure nobody knows, so it is taken out to be sure.
    """

    __slots__ = ("group", "noted")

    def __init__(self) -> None:
        self.group: str | None = None
        self.noted: set[str] = set()
