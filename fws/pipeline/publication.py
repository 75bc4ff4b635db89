"""A publication: one message addressed to a channel."""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

# Channel names come from clients. 200 bytes and no control characters keep them printable and cheap.
MAX_CHANNEL = 200
# `*`, `?` and `[` would make a pattern of it wherever names are matched, as Redis does.
_NEVER = re.compile(r"[\x00-\x1f\x7f-\x9f*?[]")

Origin = Literal["here", "node", "outside"]


class Publication(msgspec.Struct, frozen=True):
    """What a hub hands to the members of a channel.

    Attributes:
        channel: its name; None addresses every client.
        message: `str`, `bytes`, or any value that JSON can carry.
        sender: id of the client that sent it, if one did.
        exclude: id of one client that must not get it.
        hops: how many publications led to this one, made while another was being delivered.
        origin: "here" when it was published on this node, "node" when on another one of this server, "outside" when
            by another application through Redis.
    """

    channel: str | None
    message: Any
    sender: str | None = None
    exclude: str | None = None
    hops: int = 0
    origin: Origin = "here"

    def replace(self, **changes: Any) -> Publication:
        """A copy with other values: `return publication.replace(message=…)` in a hook."""
        return msgspec.structs.replace(self, **changes)


def check_channel(name: str) -> None:
    """Raise ValueError unless a channel can have this name: 1 to 200 bytes of UTF-8, no control characters, and none
    of `*`, `?` and `[`, which make a pattern of a name."""
    if not isinstance(name, str) or not name:
        raise ValueError("a channel's name is a text that is not empty")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise ValueError("a channel's name is a text that UTF-8 can carry") from None
    if size > MAX_CHANNEL or _NEVER.search(name):
        raise ValueError(f"a channel's name has at most {MAX_CHANNEL} bytes, no control characters, and none of * ? [")
