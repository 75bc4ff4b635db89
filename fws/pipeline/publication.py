"""A publication: one message addressed to a channel."""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

# Clients can choose channel names. This limit, and the ban on control characters, keep them printable and cheap.
MAX_CHANNEL = 200
# `*`, `?` and `[` would make a name a pattern wherever names are matched, as in Redis.
_NEVER = re.compile(r"[\x00-\x1f\x7f-\x9f*?[]")

Origin = Literal["here", "node", "outside"]


class Publication(msgspec.Struct, frozen=True):
    """One message addressed to a channel.

    Attributes:
        channel: the name of the channel; None addresses every client.
        message: `str`, `bytes`, or any value that JSON can represent.
        sender: the id of the client that sent it, if a client did.
        exclude: the id of one client that must not receive it.
        hops: how many publications led to this one, each made while another one was being delivered.
        origin: where it was published: "here" on this node, "node" on another node, and "outside" by another
            application through Redis.
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
    """Check the name of a channel.

    Raises:
        ValueError: the name is not 1 to 200 bytes of UTF-8 without control characters, `*`, `?` and `[`.
    """
    if not isinstance(name, str) or not name:
        raise ValueError("the name of a channel must be a text that is not empty")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise ValueError("the name of a channel must be valid UTF-8") from None
    if size > MAX_CHANNEL or _NEVER.search(name):
        raise ValueError(
            f"the name of a channel can have at most {MAX_CHANNEL} bytes, no control characters, and none of * ? ["
        )
