"""`presence`: answer who is a member of a channel."""

from __future__ import annotations

from typing import Annotated, Any

from fws import DROP, Client, Help, StorageError
from fws.filters._allow import Allow


class Presence(Allow):
    """Answer with the members of a channel on all nodes. The message ends there.

    On `message`. The client gets `{"type": "presence", "channel": "lobby", "clients": 2, "users": 1, "present":
    [{"client": "…", "user": "ann", "info": {…}}, …]}`. The channel needs `presence = true` in [channels];
    `presence_info` there selects the info. `clients` and `users` count everybody; clients without a user count as
    one each. `most` bounds the list.

    If Redis does not answer, the client gets `{"type": "presence", "channel": "lobby", "error": "not known now"}`.

    Example:
        message = ["json", "presence {message.channel} allow=channel=='lobby'"]
    """

    waits = True

    channel: Annotated[str, Help("Channel whose members are asked for.")]
    most: Annotated[int, Help("The most clients in the list.")] = 100

    def message(self, client: Client, message: Any) -> Any:
        if self.allows(client, message, self.channel):
            client.send({"type": "presence", "channel": self.channel, **self._found()})
        return DROP

    def _found(self) -> dict[str, Any]:
        try:
            present = self.hub.presence(self.channel)
        except StorageError:
            return {"error": "not known now"}
        users = len({one.user for one in present if one.user}) + sum(not one.user for one in present)
        return {"clients": len(present), "users": users, "present": present[: self.most]}
