"""Idle: the processor time of a server while 10,000 clients are connected and only answer pings."""

from __future__ import annotations

import time
from dataclasses import dataclass

from holding import holding
from measure import Measure, Sample, Subject
from process import Running
from servers import CONNECTION

CLIENTS = 10_000
INTERVAL = 25.0  # seconds; the default ping interval of fws, so that each client is pinged once


@dataclass(frozen=True)
class Idle(Measure):
    unit: str = "% of a processor"
    needs: str = CONNECTION
    more_is_better: bool = False

    def take(self, running: Running, seconds: float) -> Sample:
        with holding(running, CLIENTS, self.path, INTERVAL + 4.0):
            time.sleep(2.0)
            before, start = running.cpu(), time.monotonic()
            time.sleep(INTERVAL)
            used, passed = running.cpu() - before, time.monotonic() - start
        return Sample(used / passed * 100)


SUBJECT = Subject(
    "idle",
    f"The processor time used while {CLIENTS:,} clients are connected and answer pings, over one ping interval.",
    (Idle("idle", f"{CLIENTS:,} idle clients, pings on", (), "/fanout", who=("fws",), clients=CLIENTS),),
    most_rounds=1,
)
