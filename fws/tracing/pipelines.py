"""Pipelines of which some events are traced.

Whether an event is traced is decided when it begins. An event that is not runs the plain hooks; one that is runs a
second tuple of hooks, which also tell its span about each stage. The pipelines of branches are inside filters, so that
there is only one of each: their hooks are replaced while an event is traced in the pipeline around them, and look
whether it is theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from random import random
from time import perf_counter
from typing import Any, Protocol

from msgspec.structs import replace

from fws.base.trace import current, mark
from fws.pipeline.observation import Observer, observed, outcome_of
from fws.pipeline.outcomes import DROP, Later
from fws.pipeline.pipeline import Pipeline, Step
from fws.pipeline.publication import Publication
from fws.tracing.span import EventSpan, Recorder


class Tracing(Protocol):
    """Begins the spans of events. Each method returns None for an event that is not traced.

    Attributes:
        ratio: the part of messages and ticks that are traced.
    """

    ratio: float

    def request(self, pipeline: Recorder, client: Any, channel: str, first: int) -> EventSpan | None:
        """A client connects, or requests a channel.

        Args:
            channel: empty on `connect`.
            first: the number of the filter that is next; not 0 if a filter has asked the client.
        """

    def message(self, pipeline: Recorder, client: Any, message: Any) -> EventSpan | None:
        """A message has arrived, and is among those that are traced."""

    def tick(self, pipeline: Recorder, message: Any) -> EventSpan | None:
        """A schedule is due, and is among those that are traced."""

    def publication(self, pipeline: Recorder, publication: Publication) -> EventSpan | None:
        """A publication has reached this process."""

    def resumed(self, span: EventSpan) -> EventSpan | None:
        """A message of a former event flows on."""


class _Stages:
    """Tells the span of the present event about each stage. Implements `fws.pipeline.observation.Observer`."""

    def enter(self, step: Step, arguments: tuple[Any, ...]) -> Any:
        span = current.get()
        return None if span is None else (span, step, perf_counter())

    def leave(self, mark: Any, result: Any) -> None:
        if mark is not None:
            self._tell(mark, "drop" if result is DROP else "later" if isinstance(result, Later) else "pass", None)

    def fail(self, mark: Any, error: BaseException) -> None:
        if mark is not None:
            self._tell(mark, outcome_of(error), error)

    @staticmethod
    def _tell(mark: Any, outcome: str, error: BaseException | None) -> None:
        span, step, began = mark
        span.stage(step, outcome, perf_counter() - began, error)


STAGES = _Stages()


class _Both:
    """Two observers of the same hooks."""

    def __init__(self, one: Observer, other: Observer) -> None:
        self._pair = one, other

    def enter(self, step: Any, arguments: tuple[Any, ...]) -> Any:
        return [(observer, observer.enter(step, arguments)) for observer in self._pair]

    def leave(self, mark: Any, result: Any) -> None:
        for observer, one in mark:
            observer.leave(one, result)

    def fail(self, mark: Any, error: BaseException) -> None:
        for observer, one in mark:
            observer.fail(one, error)


class TracedPipeline(Pipeline):
    """A pipeline of which some events are traced. It is equal to the plain one, and takes its place."""

    __slots__ = ("_branches", "_observer", "_recorded", "_recording", "_tracing")

    def __init__(self, plain: Pipeline, tracing: Tracing) -> None:
        super().__init__(plain.event, plain.steps, inner=plain.inner, tally=plain.tally)
        self._tracing = tracing
        steps = [replace(step, hook=observed(step, step.hook, STAGES)) for step in plain.steps]
        self._recorded = Pipeline(plain.event, steps, inner=plain.inner, tally=plain.tally)
        self._branches = [branch for step in plain.steps for _, branch in step.branches]
        # The number of traced events that run at the moment; another observer, such as a tap.
        self._recording = 0
        self._observer: Observer | None = None

    def observe(self, observer: Observer | None) -> None:
        self._observer = observer
        super().observe(observer)
        self._recorded.observe(observer)
        self._observe_branches()

    def _observe_branches(self) -> None:
        observer = self._observer
        if self._recording:
            observer = STAGES if observer is None else _Both(observer, STAGES)
        for branch in self._branches:
            branch.observe(observer)

    def run(self, client: Any, value: Any) -> Any:
        tracing = self._tracing
        if random() >= tracing.ratio or (span := tracing.message(self, client, value)) is None:
            return Pipeline.run(self, client, value)  # `super` would take twice the time, for every message
        return self.record(span, self._recorded.run, client, value)

    def tick(self, ticker: Any, value: Any) -> Any:
        tracing = self._tracing
        if random() >= tracing.ratio or (span := tracing.tick(self, value)) is None:
            return super().tick(ticker, value)
        return self.record(span, self._recorded.tick, ticker, value)

    def happen(self, client: Any, first: int = 0, *more: Any) -> Any:
        span = self._tracing.request(self, client, more[0] if more else "", first)
        if span is None:
            return super().happen(client, first, *more)
        return self.record(span, self._recorded.happen, client, first, *more)

    def publish(self, publication: Publication) -> Any:
        span = self._tracing.publication(self, publication) if publication.trace else None
        if span is None:
            return super().publish(publication)
        return self.record(span, self._recorded.publish, publication)

    def record(self, span: EventSpan, run: Callable[..., Any], /, *arguments: Any) -> Any:
        """Run hooks that tell `span` about their stages, and end it."""
        token = current.set(span)
        self._recording += 1
        if self._branches and self._recording == 1:
            self._observe_branches()
        try:
            result = run(*arguments)
        except BaseException as error:
            span.end(error)
            mark(error, span.context)
            raise
        else:
            span.end()
            return result
        finally:
            current.reset(token)
            self._recording -= 1
            if self._branches and not self._recording:
                self._observe_branches()


class Resumption(Pipeline):
    """The rest of a traced pipeline, for messages that flow on later.

    Args:
        span: of the event that the messages come from. While its pipeline lives, a reload does not stop its filters.
    """

    __slots__ = ("_rest_of", "_span", "_tracing")

    def __init__(self, rest: Pipeline, span: EventSpan, tracing: Tracing) -> None:
        super().__init__(rest.event, rest.steps, inner=rest.inner, tally=rest.tally)
        self._rest_of = rest
        self._span = span
        self._tracing = tracing

    def run(self, client: Any, value: Any) -> Any:
        return self._resume(self._rest_of.run, client, value)

    def tick(self, ticker: Any, value: Any) -> Any:
        return self._resume(self._rest_of.tick, ticker, value)

    def _resume(self, run: Callable[..., Any], *arguments: Any) -> Any:
        span = self._tracing.resumed(self._span)
        if span is None:
            return run(*arguments)
        return self._span.pipeline.record(span, run, *arguments)
