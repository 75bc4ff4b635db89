"""`when`: continue only if a condition holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fws import DROP, Client, Filter, Help, Publication, Takes
from fws.pipeline.condition import Condition


class When(Filter):
    """Continue if a condition holds, and end the pipeline if it does not.

    On every event but `data`. On `connect` and `subscribe`, the end of the pipeline does not refuse the client.

    A condition is written as in Python: `and`, `or`, `not`, comparisons, `in`, texts in quotes, numbers, `true`,
    `false`, `null`, lists of these, and the functions `len`, `lower`, `words`, `startswith` and `endswith`. `words`
    gives the words of a text, such as OAuth's `scope`: `'chat' in words(identity.scope)`. `message`, `channel`,
    `client` (`id`, `address`, `path`, `subprotocol`), `identity`, `state`, `params` and `request` (`query`, `headers`,
    `cookies`) have the values that their names say. `call` (`kind`, `channel`, `method`, `data`) is what a client wants
    in a protocol such as `centrifuge`. Any other name is a field of the message. A missing field is null. Values that
    cannot be compared are neither equal nor less nor more. A name that an event does not have, such as a field of the
    message on `connect`, is a problem of the file. Placeholders are written as names: `params.room`, not {room}. A
    condition has at most 1000 characters.

    Example:
        message = ["json", "when type in ('chat', 'me') and len(text) <= 500", "broadcast"]
    """

    skips = True
    waits = False

    condition: Annotated[Condition, Help("What must hold."), Takes("rest")]

    @classmethod
    def check_event(cls, event: str, options: Mapping[str, Any]) -> None:
        options["condition"].check_event(event)

    def connect(self, client: Client) -> Any:
        return self._decide(client, None)

    def message(self, client: Client, message: Any) -> Any:
        return self._decide(client, message)

    def publication(self, publication: Publication) -> Any:
        return self._decide(None, publication.message, publication.channel)

    def deliver(self, client: Client, publication: Publication) -> Any:
        return self._decide(client, publication.message, publication.channel)

    def tick(self, message: Any) -> Any:
        return self._decide(None, message)

    def subscribe(self, client: Client, channel: str) -> Any:
        return self._decide(client, None, channel)

    def unsubscribe(self, client: Client, channel: str) -> Any:
        return self._decide(client, None, channel)

    def disconnect(self, client: Client) -> Any:
        return self._decide(client, None)

    def _decide(self, client: Client | None, message: Any, channel: str | None = None) -> Any:
        return None if self.condition.holds(client, message, channel) else DROP
