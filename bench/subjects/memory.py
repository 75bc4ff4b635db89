"""Memory: what an idle client costs that is a member of a channel."""

from __future__ import annotations

import time
from dataclasses import dataclass

from holding import holding
from measure import Measure, Sample, Subject
from process import Running
from servers import CONNECTION

CLIENTS = 5000
SETTLE = 1.5  # seconds after the last handshake, for work that the server has deferred


@dataclass(frozen=True)
class Memory(Measure):
    unit: str = "KiB a client"
    needs: str = CONNECTION
    more_is_better: bool = False

    def take(self, running: Running, seconds: float) -> Sample:
        # Memory that the server allocates once, for its first clients, does not count.
        running.load(("connect", "-n", "50"), self.path, seconds)
        time.sleep(0.5)
        before = running.resident()
        with holding(running, self.clients, self.path, SETTLE + 1.0):
            time.sleep(SETTLE)
            after = running.resident()
        return Sample((after - before) / self.clients)


SUBJECT = Subject(
    "memory",
    f"The resident memory that {CLIENTS:,} idle clients add. Each is a member of a channel.",
    (Memory("memory", f"{CLIENTS:,} idle clients", (), "/fanout", clients=CLIENTS),),
    most_rounds=1,
)
