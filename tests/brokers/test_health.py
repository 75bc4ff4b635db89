from __future__ import annotations

import logging

import pytest

from fws.base.metrics import Metrics
from fws.brokers.health import Health
from tests.support import Clock


def test_one_line_for_each_change_of_state(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock, metrics = Clock(), Metrics()
    state = Health("redis://h:1", metrics, clock)
    state.expect("relay")
    state.expect("sender")
    assert state.reason == "Redis redis://h:1: not reached yet"
    state.up("relay")
    assert caplog.messages == []
    state.up("sender")
    assert state.reason is None
    metrics.count("redis_unconfirmed", 1)  # counted before anybody knows that it is away
    state.down("relay", "it does not answer")
    state.down("sender", "it does not answer")
    state.down("sender", "nothing listens there")
    assert state.reason == "Redis redis://h:1: it does not answer"
    clock.advance(12.3)
    metrics.count("redis_dropped", 4)
    state.up("relay")
    state.up("sender")
    state.up("sender")
    assert caplog.messages == [
        "Redis redis://h:1 is reached",
        "Redis redis://h:1 is away: it does not answer; "
        "clients of this node are served, and publications for other nodes wait",
        "Redis redis://h:1 is back after 12.3 s: 4 dropped from the full buffer, 1 sent without an answer",
    ]
    assert metrics["redis_outages"] == 1


def test_an_interrupted_subscription_is_not_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Fault: the line said only "nothing lost from here", even if publications of other nodes were missing."""
    metrics = Metrics()
    state = Health("redis://h:1", metrics, Clock())
    for gaps, told in ((1, "nothing lost from here; publications of other nodes"), (0, "nothing lost from here")):
        metrics.count("redis_gaps", gaps)
        state.down("relay", "it does not answer")
        state.up("relay")
        assert caplog.messages[-1].startswith(f"Redis redis://h:1 is back after 0.0 s: {told}")
    assert "other nodes" not in caplog.messages[-1]
