"""The older API's storage object in memory, and the server's queue."""

from __future__ import annotations

from typing import Any

import pytest

from fws.classic.instance import MAX_QUEUE, Shared
from fws.classic.storage import DefaultStorageObject


def test_sets_by_name() -> None:
    storage = DefaultStorageObject()
    storage.add("red", "one")
    storage.add(b"red", b"two")
    assert storage.get("red") == storage["red"] == {"one", "two"}
    storage.remove("red", "one")
    storage.remove("red", "nobody")
    assert "two" in storage["red"]
    assert storage.get("blue") == set()


def test_changes_of_a_returned_set_are_stored() -> None:
    """The first releases had a dictionary of sets, and filters wrote `storage_object[token].add(id)`."""
    storage = DefaultStorageObject()
    storage["red"].add("one")
    storage["red"].add("two")
    storage["red"].remove("one")
    assert storage["red"] == {"two"}
    storage["red"].discard("two")
    assert storage["red"] == set()
    with pytest.raises(KeyError):
        storage["red"].remove("two")


def test_publications_in_memory_are_put_into_the_queue() -> None:
    shared = Shared()
    shared.storage_object.publish("news", bytearray(b"text"))
    assert shared.queue.get() == {"type": "message", "pattern": None, "channel": b"news", "data": b"text"}
    assert shared.queue.empty()


def test_the_queue_has_a_bound() -> None:
    shared = Shared()
    for number in range(MAX_QUEUE + 5):
        shared.queue.put(number)
    assert len(shared.queue) == MAX_QUEUE
    first: Any = shared.queue.get()
    assert first == 0
