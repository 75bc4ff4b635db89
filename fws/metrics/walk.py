"""What only a walk over all clients and channels can say. Others have their turns between its slices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, cast

from fws.channels.hub import Hub
from fws.histories.base import History
from fws.histories.memory import MemoryHistory
from fws.metrics.snapshot import Snapshot
from fws.presence.base import Presence
from fws.runtime.scheduler import Budget

if TYPE_CHECKING:
    from fws.clients.client import Client

# Clients that are looked at between two looks at the time.
SLICE = 200
# A result is as old as this many times the time that the walk took, at least this many seconds.
REST = 100
YOUNG = 0.5


class Walk:
    """Counts clients and what waits for them. It keeps the result for a while, to take 1 % of the time at most.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, hub: Hub, history: History, presence: Presence, clock: Callable[[], float]) -> None:
        self._hub = hub
        self._history = history
        self._presence = presence
        self._clock = clock
        self._until = float("-inf")
        self._result = Snapshot()

    def result(self) -> Snapshot:
        """The gauges. May give others their turns."""
        began = self._clock()
        if began >= self._until:
            # A second greenlet that asks meanwhile gets the former result.
            self._until = float("inf")
            try:
                self._result = self._walk()
            finally:
                now = self._clock()
                self._until = now + max(YOUNG, REST * (now - began))
        return self._result

    def _walk(self) -> Snapshot:
        snapshot, budget = Snapshot(), Budget()
        budget.start()
        endpoints: Counter[str] = Counter()
        waiting = 0
        clients = iter(cast("list[Client]", [*self._hub.clients.values()]))
        while some := list(islice(clients, SLICE)):
            for client in some:
                endpoints[client.endpoint.path or "*"] += 1
                waiting += client.outbox.size
            budget.spend()
        for endpoint, number in endpoints.items():
            snapshot.add("fws_clients", number, endpoint)
        snapshot.add("fws_outbox_bytes", waiting)
        _channels(snapshot, "fws_presence_channels", "fws_presence_members", self._presence.here())
        budget.spend()
        if isinstance(self._history, MemoryHistory):
            _channels(snapshot, "fws_history_channels", "fws_history_publications", self._history.kept())
        return snapshot


def _channels(snapshot: Snapshot, channels: str, numbers: str, found: Iterable[int]) -> None:
    found = list(filter(None, found))
    snapshot.add(channels, len(found))
    snapshot.add(numbers, sum(found))
