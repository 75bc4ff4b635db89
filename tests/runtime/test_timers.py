from __future__ import annotations

from fws.runtime.timers import MAX_CANCELLED, Alarms


def fail(error: BaseException) -> None:
    raise error


def test_they_ring_when_due_the_soonest_first_and_once() -> None:
    alarms, rung = Alarms(), []
    for when in (3.0, 1.0, 2.0, 1.0):
        alarms.at(when, lambda when=when: rung.append(when))
    alarms.ring(0.9, fail)
    assert rung == []
    alarms.ring(2.0, fail)
    alarms.ring(2.0, fail)
    assert rung == [1.0, 1.0, 2.0]


def test_what_is_set_while_they_ring_waits_for_the_next_time() -> None:
    """One that sets itself again must not ring for ever."""
    alarms, rung = Alarms(), []

    def again() -> None:
        rung.append(1)
        alarms.at(0.0, again)

    alarms.at(0.0, again)
    alarms.ring(1.0, fail)
    assert rung == [1]


def test_a_cancelled_one_does_not_ring_and_takes_no_room() -> None:
    alarms = Alarms()
    for _ in range(10 * MAX_CANCELLED):
        alarm = alarms.at(1e9, lambda: 1 / 0)
        alarm.cancel()
        alarm.cancel()
    assert len(alarms) <= 2 * MAX_CANCELLED
    alarms.ring(2e9, fail)
    assert len(alarms) == 0


def test_one_may_cancel_another_that_is_due_too() -> None:
    alarms, rung = Alarms(), []
    second = None
    alarms.at(1.0, lambda: second.cancel())
    second = alarms.at(1.0, lambda: rung.append("second"))
    alarms.ring(1.0, fail)
    assert rung == []


def test_what_one_raises_keeps_no_other_from_ringing() -> None:
    alarms, rung, failed = Alarms(), [], []
    alarms.at(1.0, lambda: 1 / 0)
    alarms.at(1.0, lambda: rung.append(1))
    alarms.ring(1.0, failed.append)
    assert rung == [1]
    assert [type(error) for error in failed] == [ZeroDivisionError]
