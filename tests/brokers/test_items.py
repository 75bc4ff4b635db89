"""Which items share a command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fws.brokers.items import Item, Message, Session, commands_of

SESSION = Session(b"PUBLISH", b"")


class Joining(Item):
    joins = True

    @classmethod
    def command(cls, items: Sequence[Any], session: Session) -> bytes:
        return b"%d" % len(items)


class Alone(Joining):
    joins = False


def test_a_message_is_one_command() -> None:
    [(command, items)] = commands_of([message := Message(b"fws:a", b"hello")], SESSION)
    assert command == b"*3\r\n$7\r\nPUBLISH\r\n$5\r\nfws:a\r\n$5\r\nhello\r\n"
    assert items == [message]


def test_items_of_one_channel_share_a_command_unless_something_is_between_them() -> None:
    a, b, c = (Joining(b"a", 1) for _ in range(3))
    other, between = Joining(b"b", 1), Message(b"a", b"x")
    assert [items for _, items in commands_of([a, other, b], SESSION)] == [[a, b], [other]]
    assert [items for _, items in commands_of([a, between, b, c], SESSION)] == [[a], [between], [b, c]]


class Choosing(Joining):
    """Joins depending on the item."""

    def __init__(self, *, joins: bool) -> None:
        super().__init__(b"a", 1)
        self.joins = joins


def test_an_item_that_does_not_join_is_not_put_into_an_open_group() -> None:
    """A message of another program was stored without its claim, and so twice."""
    first, alone, last = Choosing(joins=True), Choosing(joins=False), Choosing(joins=True)
    assert [items for _, items in commands_of([first, alone, last], SESSION)] == [[first], [alone], [last]]
