"""`publish`: a message of the server's own, or what flows, to a channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fws import DROP, Client, Help, Publication, Reject, Takes
from fws.filters._allow import Allow


class Publish(Allow):
    """Publish a message of the server's own to a channel, or what flows when none is given.

    On `connect` and `disconnect` nothing flows, so `value` is needed there. On `message` and `publication` what flows,
    flows on; a publication that is on the channel already is not published again. The client is the sender. A channel
    name that no channel can have (empty, over 200 bytes, control characters, `*`, `?`, `[`), such as a placeholder may
    give, ends the event; on `connect` it refuses the client with 400.

    Placeholders in a text are filled in as they are. Where the text is JSON and a client chooses what they hold, give
    a table in [filters.NAME] instead: each value in it stays one value.

    Example:
        connect = ["join lobby", "publish lobby {client.id} has come"]
        disconnect = ["publish lobby {client.id} has left"]
    """

    channel: Annotated[str, Help("Channel to publish to.")]
    value: Annotated[Any, Help("What to publish: text, or any JSON value in a table."), Takes("rest")] = None
    to: Annotated[Literal["all", "others"], Help("Whether the sender gets it too, if it is a member.")] = "all"

    @classmethod
    def check_event(cls, event: str, options: Mapping[str, Any]) -> None:
        if event in ("connect", "disconnect") and options.get("value") is None:
            raise ValueError(f"nothing flows on {event}: give the option 'value', such as publish lobby hello")
        super().check_event(event, options)

    def connect(self, client: Client) -> None:
        if not self.allows(client, None, self.channel):
            raise Reject(403, "This channel is not for you.")
        if self._publish(self.value, client.id) is DROP:
            raise Reject(400, "No channel can have this name.")

    def message(self, client: Client, message: Any) -> Any:
        if not self.allows(client, message, self.channel):
            return DROP
        return self._publish(message if self.value is None else self.value, client.id)

    def publication(self, publication: Publication) -> Any:
        if publication.channel == self.channel:
            return None
        if not self.allows(None, publication.message, self.channel):
            return DROP
        message = publication.message if self.value is None else self.value
        return self._publish(message, publication.sender, publication.exclude)

    def disconnect(self, client: Client) -> Any:
        return self._publish(self.value, client.id) if self.allows(client, None, self.channel) else DROP

    def _publish(self, message: Any, sender: str | None, exclude: str | None = None) -> Any:
        try:
            self.hub.publish(self.channel, message, sender=sender, exclude=sender if self.to == "others" else exclude)
        except ValueError:
            return DROP
        return None
