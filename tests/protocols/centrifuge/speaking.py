"""A client that speaks the protocol centrifuge: says commands, and keeps what it is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fws.clients.client import Client
from fws.wire.framing import Transport
from tests.support import Harness

CONNECT = {"id": 1, "connect": {}}


class Speaker:
    """One client.

    Args:
        transport: what carries it.
        more: further arguments of `Harness.connect`.
    """

    def __init__(self, harness: Harness, target: str = "/", *, transport: Transport = "websocket", **more: Any) -> None:
        self.harness = harness
        self._streams = transport != "websocket"
        self.client: Client = harness.connect(target, transport=transport, **more)

    def say(self, *commands: Mapping[str, Any] | str) -> list[Any]:
        """Send commands in one message. Returns what it is told."""
        text = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in commands)
        if self._streams:
            self.harness.loop.soon(self.client.hear, text)
            self.harness.settle()
        else:
            self.harness.client_says(self.client, text)
        return self.heard()

    def heard(self) -> list[Any]:
        """What it has been told since the last call."""
        return [json.loads(line) for message in self.harness.sent(self.client) for line in lines(message)]

    def connect(self, **request: Any) -> dict[str, Any]:
        """Send `connect`. Returns the reply; empty if there is none."""
        replies: list[dict[str, Any]] = self.say({"id": 1, "connect": request})
        return replies[0] if replies else {}

    @property
    def end(self) -> tuple[int, str] | None:
        """How it was told that the connection is over; None if it was not."""
        return self.harness.closed(self.client)


def lines(message: str | bytes) -> list[str]:
    assert isinstance(message, str)
    return message.split("\n")


def error(reply: Mapping[str, Any]) -> tuple[int, str]:
    """The code and the message of a reply that says an error."""
    return reply["error"]["code"], reply["error"]["message"]


def connected(harness: Harness, target: str = "/", **more: Any) -> Speaker:
    """A client that has sent `connect`, and has read the reply."""
    speaker = Speaker(harness, target, **more)
    assert "connect" in speaker.connect(), speaker.client.close_reason
    return speaker
