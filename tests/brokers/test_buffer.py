from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from fws.brokers.buffer import Buffer, drop
from fws.brokers.items import ITEM, Item, Message


def item(number: int, size: int = ITEM) -> Message:
    name = b"%d" % number
    return Message(name, b"." * (size - ITEM - len(name)))


def numbers(items: Sequence[Item]) -> list[int]:
    return [int(item.name) for item in items]


def test_the_oldest_is_dropped_and_counted() -> None:
    buffer = Buffer(1000)
    dropped = [buffer.append(item(number, 300)) for number in range(5)]
    assert [numbers(some) for some in dropped] == [[], [], [], [0], [1]]
    assert numbers(buffer.take(10_000)) == [2, 3, 4]
    assert (len(buffer), buffer.size) == (0, 0)


def test_one_that_is_larger_than_the_bound_waits_alone() -> None:
    """Fault: a message as large as the buffer was dropped although Redis was available."""
    buffer = Buffer(1000)
    buffer.append(item(1, 300))
    assert numbers(buffer.append(item(2, 5000))) == [1]
    assert numbers(buffer.take(1)) == [2]


def test_returned_publications_are_the_oldest() -> None:
    buffer = Buffer(1000)
    for number in range(3):
        buffer.append(item(number, 300))
    taken = buffer.take(600)
    assert numbers(taken) == [0, 1]
    buffer.append(item(3, 300))
    assert numbers(buffer.put_back(taken)) == [0]
    assert numbers(buffer.take(10_000)) == [1, 2, 3]


def test_a_smaller_bound_drops_at_once() -> None:
    buffer = Buffer(10_000)
    for number in range(10):
        buffer.append(item(number, 300))
    assert numbers(buffer.bound(1000)) == list(range(7))
    assert numbers(buffer.take(10_000)) == [7, 8, 9]


@given(st.lists(st.integers(0, 400)), st.integers(1, 2000), st.integers(1, 1000))
def test_nothing_is_lost_uncounted_and_order_is_kept(sizes: list[int], bound: int, slice_: int) -> None:
    buffer = Buffer(bound)
    taken: list[Item] = []
    dropped = 0
    for number, size in enumerate(sizes):
        dropped += drop(buffer.append(Message(b"%d" % number, b"x" * size)))
        assert buffer.size <= bound or len(buffer) == 1
        if number % 3 == 0:
            taken += buffer.take(slice_)
    taken += buffer.take(10**9)
    assert numbers(taken) == sorted(numbers(taken))
    assert len(taken) + dropped == len(sizes)
    assert buffer.size == 0
