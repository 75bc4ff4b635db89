"""How filters treat a message that they refuse: the options `on_error`, `on_excess` and `on_refusal`."""

from __future__ import annotations

from typing import Literal

from fws import DROP, Client, Close
from fws.pipeline.outcomes import Drop

Refusing = Literal["drop", "reply", "close"]


def refuse(client: Client, how: Refusing, code: int, reason: str) -> Drop:
    """Drop the message, drop it and send `{"error": reason}`, or end the connection with the close code."""
    if how == "close":
        raise Close(code, reason)
    if how == "reply":
        client.send({"error": reason})
    return DROP
