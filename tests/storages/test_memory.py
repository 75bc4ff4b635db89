from __future__ import annotations

import itertools
import time

import pytest

from fws.base.errors import StorageError
from fws.storages.memory import MemoryStorage
from tests.storages.contract import Contract
from tests.support import Clock


def fill(storage: MemoryStorage) -> None:
    """Store small values until it is full."""
    for number in itertools.count():
        try:
            storage.set(f"{number}", "", expire=60)
        except StorageError:
            return


class TestMemory(Contract):
    @pytest.fixture(autouse=True)
    def made(self) -> None:
        self.clock = Clock()
        self.storage = MemoryStorage(self.clock)
        self.passes = self.clock.advance

    def test_expired_keys_free_their_memory(self) -> None:
        storage = MemoryStorage(self.clock)
        storage.set("v", "x", expire=1)
        storage.set("v", "xyz", expire=1)
        storage.add("s", "a", "b", expire=1)
        storage.set_field("m", "a", "1" * 100, expire=1)
        storage.set_field("m", "a", "2")
        storage.increment("n", expire=1)
        storage.remove("s", "a")
        assert storage._size > 0
        self.clock.advance(1)
        for key in ("v", "s", "m", "n"):
            assert not storage.delete(key)
        assert storage._size == 0

    def test_only_the_last_expiry_of_a_key_is_kept(self) -> None:
        storage = MemoryStorage(self.clock)
        for _ in range(1000):
            storage.add("s", "a", expire=60)
        assert len(storage._due) < 100

    def test_expired_keys_are_removed_without_being_read(self) -> None:
        storage = MemoryStorage(self.clock)
        for number in range(1000):
            storage.set(f"{number}", "x", expire=60)
            self.clock.advance(1)
        assert 60 <= len(storage._entries) < 100

    def test_text_counts_with_the_room_it_takes(self) -> None:
        """Fault: one character beyond ASCII makes each character take four bytes, so that the limit was exceeded four
        times.
        """
        storage = MemoryStorage(self.clock, most=5000)
        storage.set("v", "x" * 4000)
        with pytest.raises(StorageError, match="full"):
            storage.set("v", "x" * 1999 + "\U0001f600")

    def test_a_change_that_does_not_fit_keeps_the_old_value(self) -> None:
        """Fault: the old value was removed before the new one was found to be too large."""
        storage = MemoryStorage(self.clock, most=4000)
        storage.set("v", "x" * 1000)
        storage.set_field("m", "a", "1")
        for change in (
            lambda: storage.set("v", "y" * 4000),
            lambda: storage.compare_and_set("v", "x" * 1000, "y" * 4000),
            lambda: storage.set_field("m", "a", "y" * 4000),
        ):
            with pytest.raises(StorageError, match="full"):
                change()
        assert storage.get("v") == "x" * 1000
        assert storage.get_field("m", "a") == "1"

    @pytest.mark.slow
    def test_full_it_refuses_at_no_cost(self) -> None:
        """Fault: each refused change looked at every key, and blocked the process for 0.1 s."""
        storage = MemoryStorage(self.clock)
        fill(storage)
        began = time.perf_counter()
        for _ in range(100):
            with pytest.raises(StorageError, match="full"):
                storage.set("new", "")
        assert time.perf_counter() - began < 1

    def test_full_takes_nothing_new_and_forgets_nothing(self) -> None:
        storage = MemoryStorage(self.clock, most=3000)
        storage.set("v", "x" * 1000, expire=10)
        storage.set("w", "y" * 100)
        with pytest.raises(StorageError, match="full"):
            storage.set("u", "z" * 1000)
        assert storage.get("v") == "x" * 1000
        self.clock.advance(10)
        storage.set("u", "z" * 1000)
        assert (storage.get("u"), storage.get("w")) == ("z" * 1000, "y" * 100)
