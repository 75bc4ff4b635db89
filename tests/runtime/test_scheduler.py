"""Turns: they are given in order, and all that wait share one turn in each round of the loop."""

from __future__ import annotations

import socket
import time
from functools import partial

import gevent
import pytest
from gevent import get_hub

from fws.runtime.scheduler import BUDGET, Scheduler, queue_up


def work(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def test_the_loop_looks_at_the_sockets_between_two_turns() -> None:
    scheduler, seen = Scheduler(), []
    ours, theirs = socket.socketpair()
    watcher = get_hub().loop.io(ours.fileno(), 1)
    with ours, theirs:
        theirs.send(b"x")
        watcher.start(lambda: seen.append("socket"))

        def turn(name: str) -> None:
            seen.append(name)
            work(BUDGET * 1.5)

        for name in "abc":
            scheduler.later(partial(turn, name))
        assert scheduler.crowded
        with gevent.Timeout(5):
            while scheduler.crowded:
                gevent.sleep(0.001)
        watcher.close()
    assert [name for name in seen if name != "socket"] == ["a", "b", "c"]
    assert "socket" in seen[seen.index("a") : seen.index("b")]
    assert "socket" in seen[seen.index("b") : seen.index("c")]


def test_small_calls_share_a_turn_and_one_that_asks_again_has_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    scheduler, seen = Scheduler(), []

    def again() -> None:
        seen.append("first")
        scheduler.later(lambda: seen.append("again"))

    def fails() -> None:
        raise ZeroDivisionError

    scheduler.later(again)
    scheduler.later(fails)
    scheduler.later(lambda: seen.append("last"))
    with gevent.Timeout(5):
        while len(seen) < 3:
            gevent.sleep(0.001)
    assert seen == ["first", "last", "again"]
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_greenlet_that_is_killed_while_it_queues_takes_no_other_turn() -> None:
    scheduler, seen = Scheduler(), []

    def queue(name: str) -> None:
        queue_up(scheduler.later)
        seen.append(name)

    greenlets = [gevent.spawn(queue, name) for name in "ab"]
    gevent.sleep(0)
    greenlets[0].kill()
    gevent.joinall(greenlets, timeout=5)
    assert seen == ["b"]
