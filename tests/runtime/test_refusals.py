"""Refusals in the log: a flood of one kind hides no other."""

from __future__ import annotations

import logging

import pytest

from fws.base.errors import Refusal
from fws.base.metrics import Metrics
from fws.runtime.refusals import Refusals
from tests.support import Clock


def test_made_up_origins_do_not_hide_other_refusals(caplog: pytest.LogCaptureFixture) -> None:
    """Fault: all reasons shared one bounded memory, so that a client with many origins silenced a 401."""
    caplog.set_level(logging.INFO)
    refusals = Refusals(Metrics(), Clock())
    for number in range(50):
        refusals.record(Refusal(403, "not allowed", advice=f"the origin https://{number}.example is not allowed"), "a")
    refusals.record(Refusal(403, "banned"), "a")
    refusals.record(Refusal(401, "no token"), "a")
    lines = [record.getMessage() for record in caplog.records]
    assert lines[-2:] == ["refused a: 403 banned", "refused a: 401 no token"]
