"""A call: what a client wants with a message, in a protocol that says so.

A client of the protocol `raw` only sends messages. In the others it publishes to a channel, calls a method, and so on.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

# The attributes that conditions may use, and those that placeholders may fill in.
ATTRIBUTES = ("kind", "channel", "method", "data")
WORDS = ("kind", "channel", "method")


class Call(msgspec.Struct, frozen=True, gc=False):
    """What a client wants.

    Attributes:
        kind: "message" in the protocol `raw`; else "connect", "subscribe", "publish", "send" or "rpc".
        channel: the channel that it publishes or subscribes to; empty without one.
        method: the method of an `rpc`; empty without one.
        data: what it gives to be connected or subscribed; None without any.
        token: what it gives to prove who it is, or that it may have a channel; empty without one.
    """

    kind: str
    channel: str = ""
    method: str = ""
    data: Any = None
    token: str = ""


MESSAGE: Final = Call("message")
"""The call of every message in the protocol `raw`."""
