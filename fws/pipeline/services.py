"""What the server lends to its filters: the hub, the storage, clocks, timers and counters."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fws.base.metrics import Metrics
from fws.base.timers import Timers
from fws.pipeline.interfaces import Hub
from fws.pipeline.journal import Journal
from fws.pipeline.storage import Storage


class Services:
    """One object for all filters of a process.

    A filter that a test makes by hand has one with real clocks, and no hub and no storage until the test sets them.

    Attributes:
        hub: this process's clients and channels; set when the server starts.
        storage: small state that filters share, with Redis among all nodes; set when the server starts.
        journal: keeps what must outlive the process; None without Redis.
        clock: monotonic seconds, for measuring spans.
        ticker: makes what runs a pipeline of the event `tick` (`fws.pipeline.pipeline.Ticker`).
        wall: Unix time in seconds, for showing to people.
        timers: calls at a time of the clock, within half a second; they must not block.
        metrics: the process's counters.
        spawn: calls a function in a greenlet of its own, where it may block.
        offload: calls a function in a native thread, and returns what it returns; the greenlet waits.
        after: calls a function after so many seconds, to the millisecond; it must not block. Returns a function that
            cancels the call.
        later: calls a function in the event loop, after others have had their turn; it must not block.
        connector: makes the connector to the Redis of `[redis] url` (`fws.redis.connector`); None without one.
        simulated: whether this is a test or a trial, in which nobody outside is told what happens.
        report: logs and counts a fault of a filter: the event, what was raised, and the client's id or "".
        login_failed: counts wrong credentials from an IP address.
    """

    __slots__ = (
        "__weakref__",
        "_hub",
        "_storage",
        "after",
        "clock",
        "connector",
        "journal",
        "later",
        "login_failed",
        "metrics",
        "offload",
        "report",
        "simulated",
        "spawn",
        "ticker",
        "timers",
        "wall",
    )

    def __init__(self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._hub: Hub | None = None
        self._storage: Storage | None = None
        self.journal: Journal | None = None
        self.simulated = False
        self.clock = clock
        self.wall = wall
        self.timers = Timers()
        self.metrics = Metrics()
        self.spawn: Callable[..., object] = _not_started
        # By hand there is no event loop to keep free.
        self.offload: Callable[..., Any] = _call
        self.after: Callable[[float, Callable[[], object]], Callable[[], None]] = _not_started
        self.ticker: Callable[[], Any] = _not_started
        self.connector: Callable[[], Any] = lambda: None
        self.later: Callable[[Callable[[], None]], object] = _not_started
        self.report: Callable[[str, BaseException, str], object] = _not_started
        self.login_failed: Callable[[str], object] = _not_started

    @property
    def hub(self) -> Hub:
        if self._hub is None:
            raise RuntimeError("there is no hub before the server has started: use it in hooks, not in __post_init__")
        return self._hub

    @hub.setter
    def hub(self, hub: Hub) -> None:
        self._hub = hub

    @property
    def storage(self) -> Storage:
        if self._storage is None:
            raise RuntimeError("there is no storage before the server has started: use it in hooks")
        return self._storage

    @storage.setter
    def storage(self, storage: Storage) -> None:
        self._storage = storage


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def _not_started(*arguments: Any) -> Any:
    raise RuntimeError("this needs a server that has started: use it in hooks")
