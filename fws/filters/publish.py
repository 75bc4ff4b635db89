"""`publish`: publish a message of the server's own, or the message that flows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fws import DROP, Client, Help, Publication, Reject, Takes
from fws.filters._allow import Allow
from fws.pipeline.condition import Term


class Publish(Allow):
    """Publish a message of the server's own to a channel; without one, the message that flows.

    On `connect` and `disconnect` nothing flows, so that `value` is required. On `message`, `publication` and `tick`,
    the message flows on. A publication that is on the channel already is not published again. The client is the sender;
    on `tick` there is none. An invalid channel name (empty, more than 200 bytes, control characters, `*`, `?`, `[`),
    which a placeholder may result in, ends the event. On `connect` it refuses the client with 400.

    Placeholders in a text are replaced without quoting. If the text is JSON and clients choose the values, write a
    table in [filters.NAME] instead, in which each value stays a single value.

    Example:
        connect = ["join lobby", "publish lobby {client.id} has come"]
        disconnect = ["publish lobby {client.id} has left"]
    """

    channel: Annotated[str, Help("Channel to publish to.")]
    value: Annotated[Any, Help("The message: text, or any JSON value in a table."), Takes("rest")] = None
    once: Annotated[
        Term | None,
        Help(
            "Where the message has an id, such as message.id. A message with the same id on the same channel within 5 "
            "minutes is not published again, on whichever node; one without an id always is."
        ),
    ] = None
    by: Annotated[
        Literal["server", "client"],
        Help(
            "client: the client publishes itself, so that the condition `publish` in [channels] must hold. Otherwise "
            "the message ends, without an answer."
        ),
    ] = "server"
    to: Annotated[Literal["all", "others"], Help("all, or others for everyone but the sender.")] = "all"

    @classmethod
    def check_event(cls, event: str, options: Mapping[str, Any]) -> None:
        if event in ("connect", "disconnect") and options.get("value") is None:
            raise ValueError(f"nothing flows on {event}: give the option 'value', such as publish lobby hello")
        if event != "message" and (options.get("once") is not None or options.get("by") == "client"):
            raise ValueError("once and by=client are for messages of clients")
        super().check_event(event, options)

    @classmethod
    def asks_rules(cls, options: Mapping[str, Any]) -> bool:
        return options.get("by") == "client"

    @property
    def waits(self) -> bool:  # type: ignore[override]
        """Whether the storage is asked."""
        return self.once is not None

    def connect(self, client: Client) -> None:
        if not self.allows(client, None, self.channel):
            raise Reject(403, "This channel is not for you.")
        if self._publish(self.value, client.id) is DROP:
            raise Reject(400, "No channel can have this name.")

    def message(self, client: Client, message: Any) -> Any:
        if not self.allows(client, message, self.channel):
            return DROP
        if self.by == "client":
            try:
                self.hub.check_publication(client, self.channel, message)
            except Reject:
                return DROP
        key = None if self.once is None else self.once.value(client, message, self.channel)
        shown = message if self.value is None else self.value
        return self._publish(shown, client.id, key=str(key) if isinstance(key, str | int) else "")

    def tick(self, message: Any) -> Any:
        if not self.allows(None, message, self.channel):
            return DROP
        return self._publish(message if self.value is None else self.value, None)

    def publication(self, publication: Publication) -> Any:
        if publication.channel == self.channel:
            return None
        if not self.allows(None, publication.message, self.channel):
            return DROP
        message = publication.message if self.value is None else self.value
        return self._publish(message, publication.sender, publication.exclude)

    def disconnect(self, client: Client) -> Any:
        return self._publish(self.value, client.id) if self.allows(client, None, self.channel) else DROP

    def _publish(self, message: Any, sender: str | None, exclude: str | None = None, key: str = "") -> Any:
        if self.to == "others":
            exclude = sender
        try:
            self.hub.publish(self.channel, message, sender=sender, exclude=exclude, key=key)
        except ValueError:
            return DROP
        return None
