"""`require`: a condition to come in, or to be heard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fws import Client, Filter, Help, Reject, Takes
from fws.base.close_codes import POLICY_VIOLATION
from fws.filters._refusal import Refusing, refuse
from fws.pipeline.condition import Condition


class Require(Filter):
    """Refuse the client, or its message, where a condition does not hold.

    On `connect` the client gets 403, after the 101 the close code 4403; it is asked again when a fresh token gives the
    client other claims. On `message` the message is dropped, dropped
    and answered with `{"error": "not allowed"}`, or closes the connection with 1008, as `on_refusal` says. Where a
    condition is written is told at `when`. Behind `token`, `jwt` or `http_auth` it can ask about the identity; what is
    missing is null, so that nobody gets through for want of it: `'editor' in identity.roles`.

    Example:
        connect = ["jwt HS256 ${JWT_KEY}", "require 'editor' in identity.roles or request.query.mode == 'read'"]
        message = ["json", "require on_refusal=reply type != 'kick' or identity.admin == true", "broadcast"]
    """

    guards = True
    waits = False

    condition: Annotated[Condition, Help("What must hold."), Takes("rest")]
    on_refusal: Annotated[Refusing, Help("What becomes of a message for which it does not hold.")] = "drop"

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

    def message(self, client: Client, message: Any) -> Any:
        if self.condition.holds(client, message):
            return None
        self.services.metrics.count("requirements_unmet")
        return refuse(client, self.on_refusal, POLICY_VIOLATION, "not allowed")
