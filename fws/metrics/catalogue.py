"""The catalogue of metrics: each is declared here once, and `/metrics` and docs/metrics.md follow from it.

The counters of `fws.base.counters` are metrics as well, under the names that `of_counter` makes.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from fws.base.counters import CATALOGUE as COUNTER_GROUPS
from fws.base.counters import Counter

_LINK = re.compile(r"\[([^]]+)]\([^)]+\)")


class Metric(msgspec.Struct, frozen=True):
    """One metric.

    Attributes:
        name: as Prometheus' conventions want it: base units, and `_total` at the end of a counter.
        help: what it says, as a part of a sentence in Markdown.
        merge: how the gauges of several workers become one.
        most: the most series of the metric; what is beyond is put together in one, with the label `other`.
        log: the name under which the log's summary shows a counter; empty if it does not.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    merge: Literal["sum", "max", "min"] = "sum"
    most: int = 500
    log: str = ""

    @property
    def text(self) -> str:
        """The help without Markdown, as a sentence."""
        text = _LINK.sub(r"\1", self.help).replace("`", "")
        return f"{text[0].upper()}{text[1:]}."


def of_counter(counter: Counter) -> Metric:
    """The metric of a counter: `fws_refused_total`."""
    labels = tuple(label for label in (counter.label, counter.detail) if label)
    log = "" if counter.traffic else counter.shown
    return Metric(f"fws_{counter.name}_total", "counter", counter.help, labels, log=log)


_STAGE = ("endpoint", "event", "stage")
# A large configuration has hundreds of stages, and those of former generations are kept.
_STAGES = 5000
_OWN: Final[dict[str, tuple[Metric, ...]]] = {
    "Server": (
        Metric("fws_build_info", "gauge", "the version of fws, with the value 1", ("version", "python"), "max"),
        Metric("fws_workers", "gauge", "workers that accept connections; 1 for a single process", (), "max"),
        Metric("fws_generation", "gauge", "the number of the generation in force", (), "max"),
        Metric(
            "fws_generation_start_time_seconds",
            "gauge",
            "the Unix time at which the generation in force was put in force",
            (),
            "max",
        ),
        Metric(
            "fws_loop_lag_seconds",
            "histogram",
            "by how much the event loop was late, measured twice a second in each worker",
        ),
        Metric(
            "fws_loop_lag_max_seconds",
            "gauge",
            "by how much the event loop was late at worst, in the last 30 to 60 seconds",
            (),
            "max",
        ),
        Metric("process_cpu_seconds_total", "counter", "processor time of all workers, in user and kernel mode"),
        Metric("process_resident_memory_bytes", "gauge", "memory of all workers"),
        Metric("process_open_fds", "gauge", "open file descriptors of all workers"),
        Metric("process_max_fds", "gauge", "the limit on open file descriptors of one worker", (), "min"),
        Metric("process_start_time_seconds", "gauge", "the Unix time at which the oldest worker started", (), "min"),
    ),
    "Clients": (
        Metric("fws_clients", "gauge", "connected clients, by endpoint; `*` is for all other paths", ("endpoint",)),
        Metric("fws_clients_limit", "gauge", "the most connections that are accepted"),
        Metric("fws_connects_total", "counter", "clients whose `connect` has passed"),
        Metric("fws_messages_received_total", "counter", "messages of clients, by endpoint", ("endpoint",)),
        Metric("fws_messages_sent_total", "counter", "messages to clients: replies and deliveries"),
        Metric("fws_received_bytes_total", "counter", "bytes that were read from sockets of clients"),
        Metric("fws_sent_bytes_total", "counter", "bytes that were given to sockets of clients"),
        Metric("fws_outbox_bytes", "gauge", "bytes that wait to be written to clients"),
    ),
    "Pipelines": (
        Metric("fws_stage_runs_total", "counter", "runs of a stage", _STAGE, most=_STAGES),
        Metric("fws_stage_drops_total", "counter", "runs of a stage that ended the event", _STAGE, most=_STAGES),
        Metric(
            "fws_stage_faults_total",
            "counter",
            "runs of a stage whose filter raised an exception",
            _STAGE,
            most=_STAGES,
        ),
        Metric("fws_stage_closes_total", "counter", "runs of a stage that closed the connection", _STAGE, most=_STAGES),
        Metric("fws_stage_refusals_total", "counter", "runs of a stage that refused the client", _STAGE, most=_STAGES),
        Metric(
            "fws_stage_seconds",
            "histogram",
            "how long runs of a stage took; it is sampled: not every run is measured, and each duration counts for the "
            "runs since the one before",
            _STAGE,
            most=_STAGES,
        ),
    ),
    "Publications": (
        Metric("fws_deliveries_total", "counter", "publications given to members of channels"),
        Metric(
            "fws_fanout_seconds",
            "histogram",
            "how long a fan-out took, from its beginning to its end; small ones are sampled",
        ),
        Metric("fws_pending_bytes", "gauge", "bytes of publications on their way to members"),
        Metric("fws_channels", "gauge", "channels with members, in each worker"),
        Metric("fws_presence_channels", "gauge", "channels with presence in which clients of this node are present"),
        Metric("fws_presence_members", "gauge", "clients of this node who are present, once for each channel"),
        Metric("fws_history_channels", "gauge", "channels whose history is kept in memory; without Redis"),
        Metric("fws_history_publications", "gauge", "publications that are kept in memory; without Redis"),
        Metric("fws_history_bytes", "gauge", "bytes of the publications that are kept in memory; without Redis"),
    ),
    "Redis": (
        Metric("fws_redis_up", "gauge", "whether Redis is available to all workers; only with Redis", (), "min"),
        Metric("fws_redis_buffer_bytes", "gauge", "bytes that wait to be sent to Redis"),
        Metric(
            "fws_redis_round_trip_seconds",
            "histogram",
            "how long Redis took to answer what was sent to it in one go",
        ),
    ),
    "Counters of filters": (
        Metric(
            "fws_custom_total",
            "counter",
            "what the project's own filters count, by the name that they give; at most 200 names, and then `other`",
            ("name",),
            most=201,
            log="NAME",
        ),
    ),
}


def _catalogue() -> dict[str, tuple[Metric, ...]]:
    titles = dict.fromkeys([*list(_OWN)[:-1], *COUNTER_GROUPS, *_OWN])
    return {title: (*_OWN.get(title, ()), *map(of_counter, COUNTER_GROUPS.get(title, ()))) for title in titles}


CATALOGUE: Final = _catalogue()
METRICS: Final = {metric.name: metric for group in CATALOGUE.values() for metric in group}
# What the octaves of `fws.base.histogram.Histogram` give exactly: 4 µs, 16 µs … 16.8 s.
OCTAVES: Final = tuple(range(2, 25, 2))
