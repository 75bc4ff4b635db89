"""`broadcast`: what flows, to a channel or to everyone."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fws import DROP, Client, Help, Publication
from fws.filters._allow import Allow


class Broadcast(Allow):
    """Publish what flows to the members of a channel, or to every client.

    On `message` the message is published with the client as its sender. On `publication` what is on another channel
    is published here as well, under its own sender; what is here already is not published again. What flows, flows
    on. Each receiver gets a message at most once, in order per channel. A channel name that no channel can have (over
    200 bytes, control characters, `*`, `?`, `[`), such as a placeholder may give, ends the event. `publish` sends a
    message of the server's own.

    Example:
        message = ["broadcast lobby to=others"]
    """

    channel: Annotated[str, Help("Channel to publish to; without one every client gets it.")] = ""
    to: Annotated[Literal["all", "others"], Help("Whether the sender gets it too, if it is a member.")] = "all"

    def message(self, client: Client, message: Any) -> Any:
        return self._publish(message, client.id) if self.allows(client, message, self.channel) else DROP

    def publication(self, publication: Publication) -> Any:
        if publication.channel != (self.channel or None):
            if not self.allows(None, publication.message, self.channel):
                return DROP
            return self._publish(publication.message, publication.sender, publication.exclude)
        return None

    def _publish(self, message: Any, sender: str | None, exclude: str | None = None) -> Any:
        if self.to == "others":
            exclude = sender
        try:
            if self.channel:
                self.hub.publish(self.channel, message, sender=sender, exclude=exclude)
            else:
                self.hub.broadcast(message, sender=sender, exclude=exclude)
        except ValueError:
            return DROP
        return None
