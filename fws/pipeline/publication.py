"""A publication: one message addressed to a channel, and its position among the publications that the channel keeps."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import msgspec

# Clients can choose channel names. This limit, and the ban on control characters, keep them printable and cheap.
MAX_CHANNEL = 200
# `*`, `?` and `[` would make a name a pattern wherever names are matched, as in Redis.
_NEVER = re.compile(r"[\x00-\x1f\x7f-\x9f*?[]")

# An epoch is a short random word. The digits of an offset are bounded, because clients send positions, and Lua writes
# numbers of more than 14 digits with an exponent.
_POSITION = re.compile(r"([A-Za-z0-9_-]{1,32}):([0-9]{1,13})")

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
        offset: its number in its channel's history, from 1; 0 if the channel keeps none.
        epoch: the lifetime of that numbering; empty if the channel keeps none.
        info: what others may know about the sender, if it has published in a protocol with calls, as `Present` has it.
        trace: the `traceparent` of the event that has published it, if that is traced; else empty.
    """

    channel: str | None
    message: Any
    sender: str | None = None
    exclude: str | None = None
    hops: int = 0
    origin: Origin = "here"
    offset: int = 0
    epoch: str = ""
    info: dict[str, Any] | None = None
    trace: str = ""

    def replace(self, **changes: Any) -> Publication:
        """A copy with other values: `return publication.replace(message=…)` in a hook."""
        return msgspec.structs.replace(self, **changes)


class Notice(Publication, frozen=True):
    """What the server tells a member about a channel. It gets the message as it is, without a pipeline."""

    kind: ClassVar[str] = ""

    @classmethod
    def at(cls, channel: str, position: Position) -> Self:
        """The notice about a position."""
        message = {"type": cls.kind, "channel": channel, "epoch": position.epoch, "offset": position.offset}
        return cls(channel, message, offset=position.offset, epoch=position.epoch)


class Announcement(Notice, frozen=True):
    """Who is present in a channel, or who has joined and left.

    Attributes:
        left: the clients that have left. The message has their ids only.
    """

    kind = "presence"

    left: Sequence[Any] = ()

    @classmethod
    def of(cls, channel: str, content: Mapping[str, Any]) -> Announcement:
        """The announcement of who is `present`, has `joined`, has `changed` or has `left`: clients as `Present`."""
        left = content.get("left", ())
        message = {"type": cls.kind, "channel": channel, **content}
        if left:
            message["left"] = [one.client for one in left]
        return cls(channel, message, left=left)


class Gap(Notice, frozen=True):
    """Publications are missing up to this position, and cannot be recovered."""

    kind = "gap"


class Here(Notice, frozen=True):
    """A new member begins at this position, and has received nothing that would say so."""

    kind = "position"


class Position(msgspec.Struct, frozen=True):
    """How far a channel has been read. `EPOCH:OFFSET` as a text.

    Attributes:
        epoch: the lifetime of the numbering.
        offset: the number of the last publication that was read; 0 for none.
    """

    epoch: str
    offset: int

    @classmethod
    def parse(cls, text: Any) -> Position | None:
        """Read a position that a client gives. None if it is not one, because no channel has such a position."""
        match = _POSITION.fullmatch(text) if isinstance(text, str) else None
        return None if match is None else cls(match[1], int(match[2]))

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"


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
