"""`unsubscribe`: let the client end a subscription."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fws import DROP, Client, Filter, Help


class Unsubscribe(Filter):
    """Let the client end a subscription that it has requested itself. The message flows on if there was one.

    On `message`. The client gets `{"type": "unsubscribed", "channel": "tea"}`. A channel that a pipeline has joined
    stays joined, and the message ends.

    Example:
        message = ["json", "unsubscribe {message.channel}"]
    """

    channel: Annotated[str, Help("Channel whose subscription ends.")]

    @classmethod
    def asks_rules(cls, options: Mapping[str, Any]) -> bool:
        return True

    def message(self, client: Client, message: Any) -> Any:
        if not client.unsubscribe(self.channel):
            return DROP
        client.send({"type": "unsubscribed", "channel": self.channel})
        return None
