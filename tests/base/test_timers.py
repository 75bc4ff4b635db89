from __future__ import annotations

from functools import partial

from fws.base.timers import MAX_CANCELLED, Timers


def fail(error: BaseException) -> None:
    raise error


def test_they_ring_when_due_the_soonest_first_and_once() -> None:
    timers = Timers()
    rung: list[float] = []
    for when in (3.0, 1.0, 2.0, 1.0):
        timers.at(when, partial(rung.append, when))
    timers.run(0.9, fail)
    assert rung == []
    timers.run(2.0, fail)
    timers.run(2.0, fail)
    assert rung == [1.0, 1.0, 2.0]


def test_a_timer_that_is_set_during_a_run_waits_for_the_next_run() -> None:
    """A timer that sets itself again must not run endlessly."""
    timers, rung = Timers(), []

    def again() -> None:
        rung.append(1)
        timers.at(0.0, again)

    timers.at(0.0, again)
    timers.run(1.0, fail)
    assert rung == [1]


def test_a_cancelled_one_does_not_ring_and_takes_no_room() -> None:
    timers = Timers()
    for _ in range(10 * MAX_CANCELLED):
        timer = timers.at(1e9, lambda: 1 / 0)
        timer.cancel()
        timer.cancel()
    assert len(timers) <= 2 * MAX_CANCELLED
    timers.run(2e9, fail)
    assert len(timers) == 0


def test_one_may_cancel_another_that_is_due_too() -> None:
    timers, rung = Timers(), []
    timers.at(1.0, lambda: second.cancel())
    second = timers.at(1.0, lambda: rung.append("second"))
    timers.run(1.0, fail)
    assert rung == []


def test_an_exception_of_one_timer_does_not_stop_the_others() -> None:
    timers, rung = Timers(), []
    failed: list[BaseException] = []
    timers.at(1.0, lambda: 1 / 0)
    timers.at(1.0, lambda: rung.append(1))
    timers.run(1.0, failed.append)
    assert rung == [1]
    assert [type(error) for error in failed] == [ZeroDivisionError]
