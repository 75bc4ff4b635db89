from __future__ import annotations

from fws.base.backoff import Backoff

FIRST, MOST = 0.05, 1.0


def test_the_first_attempt_comes_at_once_and_waits_grow_to_their_most() -> None:
    backoff = Backoff(FIRST, MOST, lambda: 1.0)
    waits = [backoff.next() for _ in range(100)]
    assert waits[0] == 0
    assert waits[1:4] == [0.1, 0.2, 0.4]
    assert set(waits[5:]) == {MOST}


def test_waits_are_spread_and_never_nothing() -> None:
    assert Backoff(FIRST, MOST, lambda: 0.0).next() == 0
    for spread in (0.0, 0.5, 1.0):
        backoff = Backoff(FIRST, MOST, lambda spread=spread: spread)  # type: ignore[misc]
        waits = [backoff.next() for _ in range(10)]
        assert waits[-1] == MOST * (1 + spread) / 2


def test_it_begins_anew_once_it_was_reached() -> None:
    backoff = Backoff(FIRST, MOST, lambda: 1.0)
    assert (backoff.next(), backoff.waited) == (0, False)
    assert (backoff.next(), backoff.waited) == (0.1, True)
    backoff.reset()
    assert (backoff.next(), backoff.waited) == (0, False)
