"""Computations in native threads: bounded, with a time limit, and only their greenlet waits."""

from __future__ import annotations

import time
import traceback

import gevent
import pytest
from gevent.monkey import get_original

from fws import OffloadError
from fws.base.metrics import Metrics
from fws.runtime.offload import WAITING, Offload

sleep = get_original("time", "sleep")


def test_the_result_comes_back_and_others_go_on_meanwhile() -> None:
    offload = Offload(1, 10.0, Metrics())
    turns = []

    def take_turns() -> None:
        for turn in range(20):
            gevent.sleep(0.001)
            turns.append(turn)

    other = gevent.spawn(take_turns)
    assert offload(lambda a, b: (sleep(0.1), a + b)[1], 1, 2) == 3
    assert len(turns) == 20
    other.get()


def test_an_exception_comes_through_with_its_traceback() -> None:
    def fails() -> None:
        raise KeyError("seven")

    with pytest.raises(KeyError, match="seven") as caught:
        Offload(1, 10.0, Metrics())(fails)
    assert "in fails" in "".join(traceback.format_tb(caught.value.__traceback__))


def test_a_computation_that_takes_too_long_is_abandoned() -> None:
    metrics = Metrics()
    offload = Offload(1, 0.05, metrics)
    begin = time.monotonic()
    with pytest.raises(OffloadError, match=r"longer than 0\.05 s"):
        offload(sleep, 0.4)
    assert time.monotonic() - begin < 0.4
    assert metrics["offloads_late"] == 1


def test_too_many_calls_are_refused_at_once() -> None:
    metrics = Metrics()
    offload = Offload(1, 10.0, metrics)
    waiting = [gevent.spawn(offload, sleep, 0.005) for _ in range(1 + WAITING)]
    gevent.sleep(0)
    with pytest.raises(OffloadError, match="all 1 threads are busy"):
        offload(sleep, 0)
    assert metrics["offloads_refused"] == 1
    gevent.joinall(waiting)
    assert offload(len, "abc") == 3
