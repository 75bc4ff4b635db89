from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fws.brokers.buffer import ITEM, Buffer


def item(number: int, size: int = 100) -> tuple[bytes, bytes]:
    return b"c", b"%d" % number + b"." * (size - ITEM - 1 - len(str(number)))


def test_the_oldest_is_dropped_and_counted() -> None:
    buffer = Buffer(1000)
    assert [buffer.append(*item(number, 300)) for number in range(5)] == [0, 0, 0, 1, 1]
    assert buffer.dropped == 2
    assert buffer.take(10_000) == [item(number, 300) for number in (2, 3, 4)]
    assert (len(buffer), buffer.size) == (0, 0)


def test_one_that_is_larger_than_the_bound_waits_alone() -> None:
    """Fault: a message as large as the buffer was dropped although Redis was available."""
    buffer = Buffer(1000)
    buffer.append(*item(1, 300))
    assert buffer.append(*item(2, 5000)) == 1
    assert buffer.take(1) == [item(2, 5000)]


def test_returned_publications_are_the_oldest() -> None:
    buffer = Buffer(1000)
    for number in range(3):
        buffer.append(*item(number, 300))
    taken = buffer.take(600)
    assert taken == [item(0, 300), item(1, 300)]
    buffer.append(*item(3, 300))
    assert buffer.put_back(taken) == 1
    assert buffer.take(10_000) == [item(number, 300) for number in (1, 2, 3)]


def test_a_smaller_bound_drops_at_once() -> None:
    buffer = Buffer(10_000)
    for number in range(10):
        buffer.append(*item(number, 300))
    assert buffer.bound(1000) == 7
    assert buffer.take(10_000) == [item(number, 300) for number in (7, 8, 9)]


@given(st.lists(st.integers(0, 400)), st.integers(1, 2000), st.integers(1, 1000))
def test_nothing_is_lost_uncounted_and_order_is_kept(sizes: list[int], bound: int, slice_: int) -> None:
    buffer = Buffer(bound)
    taken: list[tuple[bytes, bytes]] = []
    for number, size in enumerate(sizes):
        buffer.append(b"%d" % number, b"x" * size)
        assert buffer.size <= bound or len(buffer) == 1
        if number % 3 == 0:
            taken += buffer.take(slice_)
    taken += buffer.take(10**9)
    numbers = [int(channel) for channel, _ in taken]
    assert numbers == sorted(numbers)
    assert len(numbers) + buffer.dropped == len(sizes)
    assert buffer.size == 0
