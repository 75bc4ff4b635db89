"""What every kind of Redis guarantees for a journal."""

from __future__ import annotations

import time

import pytest

from fws.base.errors import StorageError
from fws.journals.redis import BATCH, MOST_BYTES, RedisJournal
from fws.pipeline.journal import Item
from fws.storages.redis import RedisStorage


class Contract:
    """A subclass sets `storage`."""

    storage: RedisStorage

    @property
    def journal(self) -> RedisJournal:
        return RedisJournal(self.storage)

    def append(self, *items: Item, most: int = 10_000, expire: float = 60) -> None:
        self.journal.append("log", items, most=most, expire=expire)

    def test_items_are_read_in_order_until_they_are_removed(self) -> None:
        items = [Item(number, f"item {number} ü".encode()) for number in (1, 2, 5)]
        self.append(*items[:2])
        self.append(items[2])
        journal = self.journal
        assert journal.read("log", 0, 10) == items
        assert journal.read("log", 1, 1) == items[1:2]
        assert journal.read("log", 5, 10) == []
        journal.remove("log", [2, 7])
        assert journal.read("log", 0, 10) == [items[0], items[2]]
        journal.remove("log", [1, 5])
        assert journal.read("log", 0, 10) == []
        assert self.storage.delete("log")
        assert journal.read("log", 0, 10) == []
        journal.remove("log", [1])

    def test_an_item_that_was_appended_is_not_appended_again(self) -> None:
        """The caller does not know whether a call was carried out whose answer did not arrive."""
        self.append(Item(1, b"one"), Item(2, b"two"))
        self.append(Item(1, b"one"), Item(2, b"two"), Item(3, b"three"))
        assert self.journal.read("log", 0, 10) == [Item(1, b"one"), Item(2, b"two"), Item(3, b"three")]
        self.journal.remove("log", [3])
        self.append(Item(3, b"three"))
        assert [item.number for item in self.journal.read("log", 0, 10)] == [1, 2]

    def test_many_and_large_items(self) -> None:
        small = [Item(number, b"x") for number in range(1, 2 * BATCH + 2)]
        large = [Item(2 * BATCH + number, b"x" * (MOST_BYTES // 2 + 1)) for number in (2, 3)]
        self.append(*small, *large)
        assert self.journal.read("log", 0, 5000) == [*small, large[0]], "an answer is bounded in bytes"
        assert self.journal.read("log", large[0].number, 5000) == large[1:]
        self.journal.remove("log", [item.number for item in small])
        assert self.journal.read("log", 0, 1) == large[:1]

    def test_a_log_is_bounded_and_expires(self) -> None:
        self.append(*(Item(number, b"x") for number in range(1, 1001)), most=100)
        kept = self.journal.read("log", 0, 1000)
        assert 100 <= len(kept) < 400
        assert kept[-1].number == 1000
        self.append(Item(1001, b"x"), expire=0.001)
        time.sleep(0.02)
        assert self.journal.read("log", 0, 10) == []

    def test_what_something_else_has_written_is_passed_over(self) -> None:
        self.storage.ask("log", lambda client, name: client.xadd(name, {"other": "x"}, id="1-0"))
        self.append(Item(2, b"two"))
        assert self.journal.read("log", 0, 10) == [Item(1, b""), Item(2, b"two")]
        self.storage.set("text", "x")
        with pytest.raises(StorageError, match="another kind"):
            self.journal.append("text", [Item(1, b"x")], most=10, expire=60)
        with pytest.raises(ValueError, match="key"):
            self.journal.read("", 0, 1)
