"""The greenlet pool: a greenlet runs one job at a time, and is not used again after untrusted code."""

from __future__ import annotations

import weakref

import gevent
from greenlet import getcurrent

from fws.runtime.greenlets import IDLE, GreenletPool


class Job:
    """A job that records the greenlets in which it ran."""

    def __init__(self, again: bool = True, wait: float | None = None) -> None:
        self.ran: list[object] = []
        self._again = again
        self._wait = wait

    def __call__(self, *arguments: object) -> bool:
        self.ran.append(getcurrent())
        if self._wait is not None:
            gevent.sleep(self._wait)
        return self._again


def turn() -> None:
    gevent.sleep(0)


def test_a_greenlet_serves_one_job_after_another() -> None:
    pool, job = GreenletPool(), Job()
    for _ in range(5):
        pool.spawn(job)
        turn()
    assert len(job.ran) == 5
    assert len({id(one) for one in job.ran}) == 1


def test_jobs_at_once_have_greenlets_of_their_own_of_which_some_are_kept() -> None:
    pool, job = GreenletPool(), Job(wait=0)
    for _ in range(2):
        for _ in range(3 * IDLE):
            pool.spawn(job)
        while len(job.ran) % (3 * IDLE):
            turn()
        gevent.sleep(0.01)
    first, second = ({id(one) for one in job.ran[start : start + 3 * IDLE]} for start in (0, 3 * IDLE))
    assert len(first) == len(second) == 3 * IDLE
    assert len(first & second) == IDLE


def test_strange_code_leaves_nothing_to_the_next_job() -> None:
    """A time-out that a filter of `connect` left running would end the handshake of another client."""
    pool = GreenletPool()
    left: list[gevent.Timeout] = []

    def strange() -> bool:
        left.append(gevent.Timeout.start_new(0.005))
        return False

    ended: list[str] = []

    def honest() -> bool:
        gevent.sleep(0.05)
        ended.append("well")
        return True

    pool.spawn(strange)
    turn()
    pool.spawn(honest)
    gevent.sleep(0.1)
    left[0].close()
    assert ended == ["well"]


def test_a_job_that_raises_takes_no_other_with_it() -> None:
    pool, job = GreenletPool(), Job()

    def fails() -> bool:
        raise gevent.GreenletExit

    pool.spawn(fails)
    pool.spawn(job)
    turn()
    pool.spawn(job)
    turn()
    assert len(job.ran) == 2


def test_the_arguments_of_a_job_are_freed() -> None:
    pool, job = GreenletPool(), Job()
    given = Job()
    pool.spawn(job, given)
    turn()
    seen = weakref.ref(given)
    del given
    assert seen() is None
