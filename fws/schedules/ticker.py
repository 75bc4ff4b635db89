"""What runs the pipeline of one tick."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fws.base.errors import FwsError
from fws.base.trace import resumption
from fws.pipeline.outcomes import MAX_PARTS
from fws.pipeline.pipeline import Pipeline
from fws.runtime.context import Context


class TooManyParts(FwsError):
    """One tick became too many messages."""


class PipelineTicker:
    """Runs a pipeline of the event `tick`, and what its filters let flow on later. What filters raise is reported.

    Implements `fws.pipeline.pipeline.Ticker`.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._parts = 0

    def run(self, pipeline: Pipeline, message: Any) -> None:
        """Run a pipeline. Blocks as long as its filters do."""
        try:
            pipeline.tick(self, message)
        except BaseException as error:  # a filter may raise anything
            self._context.faults.settle("tick", error)

    def take_part(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            self._context.metrics.count("parts_over_limit")
            raise TooManyParts(f"one tick becomes at most {MAX_PARTS} messages")

    def resume(self, rest: Pipeline) -> Callable[[Any], None]:
        rest = resumption(rest)

        def flow(message: Any) -> None:
            self._context.scheduler.spawn(PipelineTicker(self._context).run, rest, message)

        return flow
