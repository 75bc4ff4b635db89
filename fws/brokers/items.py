"""What a sender writes to Redis: publications, and further commands that know their answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from fws.redis.resp import command

# The memory of an item in addition to its bytes.
ITEM = 100


class Session(NamedTuple):
    """What commands need to know about the connection that they are sent over.

    Attributes:
        publish: the command that publishes: `PUBLISH`, or `SPUBLISH` in a Cluster.
        run: identifies the process of this Redis; empty if it may not be asked.
    """

    publish: bytes
    run: bytes


class Item:
    """One thing to send.

    Attributes:
        name: the channel in Redis, which decides about the node of a Cluster.
        size: the bytes that it counts while it waits.
        repeatable: whether it may be sent again if it is not known whether it was executed.
        scripted: whether its command calls a script.
        joins: whether it can share a command with other items of its class and channel that wait at the same time.
        publications: the publications in it, for the counters.
    """

    __slots__ = ("name", "size")

    repeatable = False
    scripted = False
    joins = False
    publications = 0

    def __init__(self, name: bytes, size: int) -> None:
        self.name = name
        self.size = ITEM + len(name) + size

    @classmethod
    def command(cls, items: Sequence[Any], session: Session) -> bytes:
        """The command for items that share it, or for one."""
        raise NotImplementedError

    def answered(self, reply: Any) -> None:
        """Redis has executed the command."""

    def lost(self) -> None:
        """It was not executed and will not be, or Redis refused it."""

    def refused(self) -> None:
        """Redis has not executed the command. It will be sent again, or is lost."""

    def delayed(self) -> None:
        """Redis is away, so that it will take a while."""


class Message(Item):
    """A payload for a channel, at most once."""

    __slots__ = ("payload",)

    publications = 1

    def __init__(self, name: bytes, payload: bytes) -> None:
        super().__init__(name, len(payload))
        self.payload = payload

    @classmethod
    def command(cls, items: Sequence[Message], session: Session) -> bytes:
        return command(session.publish, items[0].name, items[0].payload)


def commands_of(items: Sequence[Item], session: Session) -> list[tuple[bytes, list[Item]]]:
    """The commands for some items, each with its items.

    Items that can share a command do so, unless another item of their channel is between them. The order of the items
    of each channel is kept.
    """
    groups: list[list[Item]] = []
    open_groups: dict[bytes, list[Item]] = {}
    for item in items:
        group = open_groups.get(item.name)
        if group is not None and item.joins and type(group[0]) is type(item):
            group.append(item)
            continue
        groups.append(group := [item])
        if item.joins:
            open_groups[item.name] = group
        else:
            open_groups.pop(item.name, None)
    return [(type(group[0]).command(group, session), group) for group in groups]
