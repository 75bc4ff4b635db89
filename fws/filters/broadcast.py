"""`broadcast`: publish the message to a channel or to every client."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fws import DROP, Client, Help, Publication
from fws.filters._allow import Allow


class Broadcast(Allow):
    """Publish the message to the members of a channel, or to every client.

    On `message`, the client is the sender. On `publication`, a publication on another channel is published on this
    channel too, with its own sender. On `tick` there is no sender. The message flows on. Each receiver gets it at most
    once, in order per channel. To send a message of the server's own, use `publish`.

    An invalid channel name ends the event: more than 200 bytes, control characters, `*`, `?` or `[`. A placeholder may
    result in such a name.

    Example:
        message = ["broadcast lobby to=others"]
    """

    channel: Annotated[str, Help("Channel to publish to; without one, every client gets the message.")] = ""
    to: Annotated[Literal["all", "others"], Help("all, or others for everyone but the sender.")] = "all"

    def message(self, client: Client, message: Any) -> Any:
        return self._publish(message, client.id) if self.allows(client, message, self.channel) else DROP

    def tick(self, message: Any) -> Any:
        return self._publish(message, None) if self.allows(None, message, self.channel) else DROP

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
