from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fws.brokers.subscriptions import LINGER, Subscriptions
from tests.support import Clock


def test_the_first_member_subscribes_and_the_last_leaves_after_a_while() -> None:
    clock = Clock()
    interest = Subscriptions(clock, [b"everyone"])
    assert interest.changes() == ([b"everyone"], [])
    interest.add(b"a")
    assert interest.wait() == 0
    assert interest.changes() == ([b"a"], [])
    interest.discard(b"a")
    assert (interest.changes(), interest.wait(), b"a" in interest) == (([], []), LINGER, True)
    clock.advance(LINGER)
    assert (interest.changes(), interest.wait(), b"a" in interest) == (([], [b"a"]), None, False)


def test_a_page_that_is_loaded_anew_costs_redis_nothing() -> None:
    clock = Clock()
    interest = Subscriptions(clock)
    interest.add(b"a")
    interest.changes()
    for _ in range(10):
        interest.discard(b"a")
        clock.advance(LINGER / 2)
        interest.add(b"a")
        assert interest.changes() == ([], [])
    clock.advance(LINGER)
    assert interest.changes() == ([], [])


def test_one_that_came_and_went_at_once_is_never_asked_for() -> None:
    clock = Clock()
    interest = Subscriptions(clock)
    interest.add(b"a")
    interest.discard(b"a")
    assert interest.changes() == ([], [])
    clock.advance(LINGER)
    assert interest.changes() == ([], [])
    interest.add(b"a")
    assert interest.changes() == ([b"a"], [])


def test_a_new_connection_is_asked_for_all() -> None:
    interest = Subscriptions(Clock(), [b"everyone"])
    interest.add(b"a")
    interest.add(b"b")
    interest.changes()
    interest.discard(b"b")
    interest.discard(b"everyone")
    interest.renew()
    assert interest.changes() == ([b"everyone", b"a"], [])


@pytest.mark.slow
@given(st.lists(st.tuples(st.sampled_from("adcr"), st.sampled_from([b"x", b"y"]))))
def test_the_subscriptions_converge_to_the_wanted_channels(steps: list[tuple[str, bytes]]) -> None:
    clock = Clock()
    interest = Subscriptions(clock)
    wanted: set[bytes] = set()
    asked: set[bytes] = set()

    def tell() -> None:
        new, gone = interest.changes()
        assert not asked & set(new)
        assert set(gone) <= asked
        asked.update(new)
        asked.difference_update(gone)

    for step, name in steps:
        clock.advance(LINGER / 3)
        if step == "a":
            interest.add(name)
            wanted.add(name)
        elif step == "d":
            interest.discard(name)
            wanted.discard(name)
        elif step == "r":
            interest.renew()
            asked.clear()
        else:
            tell()
    tell()
    clock.advance(LINGER)
    tell()
    assert asked == wanted
