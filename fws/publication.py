"""A publication: one message addressed to a channel."""

from __future__ import annotations

from typing import Any

import msgspec


class Publication(msgspec.Struct, frozen=True):
    """What a hub hands to the members of a channel.

    Attributes:
        channel: its name; None addresses every client.
        message: `str`, `bytes`, or any value that JSON can carry.
        sender: id of the client that sent it, if one did.
        exclude: id of one client that must not get it.
        hops: how many publications led to this one, made while another was being delivered.
    """

    channel: str | None
    message: Any
    sender: str | None = None
    exclude: str | None = None
    hops: int = 0

    def replace(self, **changes: Any) -> Publication:
        """A copy with other values: `return publication.replace(message=…)` in a hook."""
        return msgspec.structs.replace(self, **changes)
