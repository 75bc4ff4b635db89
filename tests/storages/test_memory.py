from __future__ import annotations

import pytest

from fws.errors import StorageError
from fws.storages.memory import MemoryStorage
from tests.storages.contract import Contract
from tests.support import Clock


class TestMemory(Contract):
    @pytest.fixture(autouse=True)
    def made(self) -> None:
        self.clock = Clock()
        self.storage = MemoryStorage(self.clock)
        self.passes = self.clock.advance

    def test_it_gives_back_the_room_of_what_is_forgotten(self) -> None:
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

    def test_full_takes_nothing_new_and_forgets_nothing(self) -> None:
        storage = MemoryStorage(self.clock, most=2000)
        storage.set("v", "x" * 1000, expire=10)
        storage.set("w", "y" * 100)
        with pytest.raises(StorageError, match="full"):
            storage.set("u", "z" * 1000)
        assert storage.get("v") == "x" * 1000
        self.clock.advance(10)
        storage.set("u", "z" * 1000)
        assert (storage.get("u"), storage.get("w")) == ("z" * 1000, "y" * 100)
