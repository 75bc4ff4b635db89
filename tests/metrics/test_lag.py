"""The lag of the event loop."""

from __future__ import annotations

from fws.metrics.lag import WORST, Lag


def test_the_worst_lag_is_remembered_for_a_while() -> None:
    lag = Lag(lambda: 0.0)
    lag.note(0.3, 1.0)
    lag.note(0.1, 2.0)
    assert lag.worst == 0.3
    lag.note(0.05, WORST + 1)
    assert lag.worst == 0.3
    lag.note(0.02, 2 * WORST + 1)
    assert lag.worst == 0.05
    assert lag.seconds.count == 4
    assert lag.seconds.seconds == 0.3 + 0.1 + 0.05 + 0.02
