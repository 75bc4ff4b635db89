"""Memory: what a client costs that is connected, is a member of a channel, and says nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass

from holding import holding
from measure import Measure, Sample, Subject
from process import Running
from servers import CONNECTION

CLIENTS = 5000
SETTLE = 1.5  # seconds after the last handshake, for what the server puts off


@dataclass(frozen=True)
class Memory(Measure):
    unit: str = "KiB a client"
    needs: str = CONNECTION
    more_is_better: bool = False

    def take(self, running: Running, seconds: float) -> Sample:
        # What the first clients make the server load and set up is not a client's cost.
        running.load(("connect", "-n", "50"), self.path, seconds)
        time.sleep(0.5)
        before = running.resident()
        with holding(running, self.clients, self.path, SETTLE + 1.0):
            time.sleep(SETTLE)
            after = running.resident()
        return Sample((after - before) / self.clients)


SUBJECT = Subject(
    "memory",
    f"Resident memory that {CLIENTS:,} idle clients add, each a member of a channel.",
    (Memory("memory", f"{CLIENTS:,} idle clients", (), "/fanout", clients=CLIENTS),),
    most_rounds=1,
)
