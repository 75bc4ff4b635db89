"""The workers of one node as one."""

from __future__ import annotations

import time
from typing import Any

import gevent
import pytest

from fws.live import fleet as fleets
from fws.live.fleet import Fleet


def test_a_worker_that_read_the_file_before_a_reload_reloads_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """It served the former file, although the reload had been reported as done."""
    asked: list[dict[str, Any]] = []
    fleet = Fleet("app.toml", list)
    monkeypatch.setattr(fleets, "SOON", 0.0)
    monkeypatch.setattr(fleet.reloads, "ask", lambda **how: asked.append(how))

    def begun(since: float) -> int:
        asked.clear()
        fleet.begun(since)
        gevent.sleep(0.005)
        return len(asked)

    started = time.monotonic()
    assert begun(started) == 0
    fleet.reloaded()
    assert begun(started) == 1
    assert begun(time.monotonic()) == 0
