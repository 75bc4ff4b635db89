"""The option `allow` of filters that use a channel: the condition under which a client may."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fws import Client, Filter, Help
from fws.pipeline.condition import Condition

ALLOW = (
    "Condition under which it may be done, as in `when`; `channel` is the channel's name. Anything else is refused: on "
    "`connect` with 403, elsewhere the event ends."
)


class Allow(Filter, kw_only=True):
    """Adds the option `allow`."""

    waits = False

    allow: Annotated[Condition | None, Help(ALLOW)] = None

    @classmethod
    def check_event(cls, event: str, options: Mapping[str, Any]) -> None:
        if (condition := options.get("allow")) is not None:
            condition.check_event(event, "channel")

    def allows(self, client: Client | None, message: Any, channel: str) -> bool:
        """Whether the client may use the channel. A refusal is counted."""
        if self.allow is None or self.allow.holds(client, message, channel):
            return True
        self.services.metrics.count("channels_refused")
        return False
