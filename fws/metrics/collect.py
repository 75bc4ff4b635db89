"""Collecting the snapshot of one process from its parts."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

from fws import __version__
from fws.base.counters import COUNTERS
from fws.base.histogram import Histogram
from fws.base.metrics import OTHER, Metrics
from fws.brokers.base import Broker
from fws.channels.hub import Hub
from fws.compiler.generation import Generation
from fws.histories.base import History
from fws.histories.memory import MemoryHistory
from fws.metrics.lag import Lag
from fws.metrics.process import add_process
from fws.metrics.snapshot import Snapshot
from fws.metrics.walk import Walk
from fws.pipeline.pipeline import StepId
from fws.pipeline.tally import StageCounts
from fws.runtime.context import Context
from fws.runtime.scheduler import Budget
from fws.runtime.traffic import Traffic

_STAGE = ("runs", "drops", "faults", "closes", "refusals")


@runtime_checkable
class Remote(Protocol):
    """A broker that sends to Redis."""

    @property
    def waiting(self) -> int: ...
    @property
    def round_trips(self) -> Histogram: ...


class Sources(NamedTuple):
    """Where the numbers of one process come from.

    Attributes:
        stages: what the stages have done since the process started, those of former generations included.
        messages: the messages of clients, by the path of their endpoint.
        generation: the one in force.
        since: the Unix time at which it was put in force.
        capacity: the most connections.
    """

    context: Context
    hub: Hub
    broker: Broker
    history: History
    stages: Callable[[], Mapping[StepId, StageCounts]]
    messages: Callable[[], Mapping[str, int]]
    generation: Callable[[], Generation]
    since: Callable[[], float]
    capacity: Callable[[], int]


def collect(sources: Sources, walk: Walk, lag: Lag) -> Snapshot:
    """The snapshot of this process. Others may have their turns meanwhile."""
    snapshot = Snapshot()
    snapshot.merge(walk.result())
    snapshot.add("fws_build_info", 1, __version__, platform.python_version())
    generation = sources.generation()
    snapshot.add("fws_generation", generation.number)
    for endpoint in generation.all_endpoints():
        snapshot.add("fws_clients", 0, endpoint.path or "*")
    snapshot.add("fws_generation_start_time_seconds", round(sources.since(), 2))
    snapshot.observe("fws_loop_lag_seconds", lag.seconds)
    snapshot.add("fws_loop_lag_max_seconds", lag.worst)
    add_process(snapshot)
    add_traffic(snapshot, sources.context.traffic)
    for path, number in sources.messages().items():
        snapshot.add("fws_messages_received_total", number, path)
    add_counters(snapshot, sources.context.metrics)
    add_stages(snapshot, sources.stages())
    snapshot.add("fws_clients_limit", sources.capacity())
    snapshot.add("fws_pending_bytes", sources.hub.weight)
    snapshot.add("fws_channels", len(sources.hub.named))
    if isinstance(sources.history, MemoryHistory):
        snapshot.add("fws_history_bytes", sources.history.size)
    if isinstance(sources.broker, Remote):
        snapshot.add("fws_redis_up", int(sources.broker.health() is None))
        snapshot.add("fws_redis_buffer_bytes", sources.broker.waiting)
        snapshot.observe("fws_redis_round_trip_seconds", sources.broker.round_trips)
    return snapshot


def add_traffic(snapshot: Snapshot, traffic: Traffic) -> None:
    """Add what went through the sockets."""
    snapshot.add("fws_connects_total", traffic.connects)
    snapshot.add("fws_messages_sent_total", traffic.sent)
    snapshot.add("fws_received_bytes_total", traffic.bytes_in)
    snapshot.add("fws_sent_bytes_total", traffic.bytes_out)
    snapshot.add("fws_deliveries_total", traffic.deliveries)
    snapshot.observe("fws_fanout_seconds", traffic.fanout)


def add_counters(snapshot: Snapshot, metrics: Metrics) -> None:
    """Add all counters. Most are there from the beginning, so that a rate sees their first count."""
    for counter in COUNTERS.values():
        for value in counter.values:
            snapshot.add(f"fws_{counter.name}_total", 0, value)
        if not counter.label:
            snapshot.add(f"fws_{counter.name}_total", 0)
    for name, label, reason, number in metrics:
        known = COUNTERS.get(name)
        if known is None:
            snapshot.add("fws_custom_total", number, name)
        else:
            given = (label or OTHER, reason or OTHER)
            labels = given[: bool(known.label) + bool(known.detail)]
            snapshot.add(f"fws_{name}_total", number, *labels)


def add_stages(snapshot: Snapshot, stages: Mapping[StepId, StageCounts]) -> None:
    """Add what the stages have done. Others may have their turns meanwhile: 1,000 stages take 10 ms."""
    budget = Budget()
    budget.start()
    for step, counts in stages.items():
        budget.spend()
        labels = (step.path, step.event, "/".join(step.stage))
        for kind in _STAGE:
            snapshot.add(f"fws_stage_{kind}_total", getattr(counts, kind), *labels)
        snapshot.observe("fws_stage_seconds", counts.times, *labels)
