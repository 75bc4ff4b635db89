"""What the stages of pipelines have done: how often they ran, how their runs ended, and how long they took."""

from __future__ import annotations

from fws.base.histogram import Histogram


class StageCounts:
    """The counts of one stage. They only grow.

    Attributes:
        runs: calls of its filter.
        drops: runs that ended the event with `DROP`.
        faults: runs in which the filter raised an exception that is no outcome.
        closes: runs that closed the connection.
        refusals: runs that refused the client.
        times: how long the runs took. Not every run is measured: each duration counts for the runs since the last one.
    """

    __slots__ = ("closes", "drops", "faults", "refusals", "runs", "times")

    def __init__(self) -> None:
        self.runs = 0
        self.drops = 0
        self.faults = 0
        self.closes = 0
        self.refusals = 0
        self.times = Histogram()
