from __future__ import annotations

from fws.base.breaker import Breaker
from tests.support import Clock


def test_after_failures_in_a_row_nobody_asks_and_then_one_does() -> None:
    clock = Clock()
    breaker = Breaker(2, 10, clock)
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    assert breaker.allows(), "they were not in a row"
    breaker.failed()
    assert not breaker.allows()
    clock.advance(10)
    assert [breaker.allows(), breaker.allows()] == [True, False], "one tries it for all"
    breaker.failed()
    clock.advance(9.9)
    assert not breaker.allows()
    clock.advance(0.1)
    assert breaker.allows()
    breaker.succeeded()
    assert [breaker.allows(), breaker.allows()] == [True, True]


def test_one_that_never_tells_how_it_went_does_not_shut_it_for_ever() -> None:
    clock = Clock()
    breaker = Breaker(1, 10, clock)
    breaker.failed()
    clock.advance(10)
    assert breaker.allows()
    clock.advance(10)
    assert breaker.allows()
