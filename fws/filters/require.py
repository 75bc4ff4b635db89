"""`require`: a condition for clients or messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fws import Client, Filter, Help, Reject, Takes
from fws.filters._refusal import Refusing, refuse
from fws.pipeline.condition import Condition


class Require(Filter):
    """Refuse a client or a message for which a condition does not hold.

    On `connect`, the client gets 403, or after the 101 the close code 4403. The condition is checked again if a new
    token gives the client other claims. On `subscribe`, the subscription is refused with 403. On `message`, depending
    on `on_refusal`, the message is dropped, or dropped and answered with `{"error": "not allowed"}`, or it closes the
    connection with 1008. In a protocol with calls, a call fails instead of being dropped.

    The filter `when` describes conditions. After `token`, `jwt` or `http_auth`, a condition can use the identity, for
    example `'editor' in identity.roles`. A missing value is null, so that a client without roles is refused.

    Example:
        connect = ["jwt HS256 ${JWT_KEY}", "require 'editor' in identity.roles or request.query.mode == 'read'"]
        message = ["json", "require on_refusal=reply type != 'kick' or identity.admin == true", "broadcast"]
    """

    guards = True
    waits = False

    condition: Annotated[Condition, Help("What must hold."), Takes("rest")]
    on_refusal: Annotated[Refusing, Help("How to treat a message for which the condition does not hold.")] = "drop"

    @classmethod
    def check_event(cls, event: str, options: Mapping[str, Any]) -> None:
        options["condition"].check_event(event)

    def connect(self, client: Client) -> None:
        self._ask(client)
        client.when_renewed(self._ask)

    def _ask(self, client: Client) -> None:
        if not self.condition.holds(client, None):
            self.services.metrics.count("requirements_unmet")
            raise Reject(403, "You may not connect here.")

    def subscribe(self, client: Client, channel: str) -> None:
        if not self.condition.holds(client, None, channel):
            self.services.metrics.count("requirements_unmet")
            raise Reject(403, "You may not have this channel.")

    def message(self, client: Client, message: Any) -> Any:
        if self.condition.holds(client, message):
            return None
        self.services.metrics.count("requirements_unmet")
        return refuse(client, self.on_refusal, 403, "not allowed")
