"""The span of one event: its context, and what is noted about its stages."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

from opentelemetry.trace import Span, Status, StatusCode

from fws.base.brief import message_of
from fws.base.errors import Close, Refusal
from fws.base.trace import TraceContext
from fws.pipeline.pipeline import Pipeline, Step, StepId
from fws.tracing import names

# The most characters of a text that a client has a say in, and of a traceback.
MAX_TEXT = 200
MAX_STACK = 4000


class Recorder(Protocol):
    """The pipeline that an event runs through.

    Attributes:
        event: its name.
    """

    event: str

    def record(self, span: EventSpan, run: Callable[..., Any], /, *arguments: Any) -> Any:
        """Run hooks that tell `span` about their stages, and end it."""


def text_of(value: Any, most: int = MAX_TEXT) -> str:
    """A text as an attribute. A half of a surrogate pair would make a whole batch of spans impossible to encode."""
    return str(value)[:most].encode("utf-8", "replace").decode()


@lru_cache(10_000)
def _name_of(id: StepId) -> str:
    return text_of(id)


class EventSpan:
    """The span of an event that is handled. Implements `fws.base.trace.Traced`.

    Args:
        span: OpenTelemetry's, which has begun.
        pipeline: the one that the event runs through.
        resume: makes the rest of the pipeline, for messages that flow on later.
        status: the HTTP status of the answer to a handshake, if that passes; 0 for other events.

    Attributes:
        context: identifies the span.
        pipeline: the one that the event runs through.
    """

    __slots__ = ("_resume", "_span", "_status", "context", "pipeline")

    def __init__(
        self,
        span: Span,
        pipeline: Recorder,
        resume: Callable[[Pipeline, EventSpan], Pipeline],
        status: int = 0,
    ) -> None:
        found = span.get_span_context()
        self.context = TraceContext(f"{found.trace_id:032x}", f"{found.span_id:016x}")
        self._span = span
        self.pipeline = pipeline
        self._resume = resume
        self._status = status

    @property
    def name(self) -> str:
        """The name of the span."""
        return str(getattr(self._span, "name", ""))

    def resumption(self, rest: Pipeline) -> Pipeline:
        """The rest of the pipeline, for a message that flows on later."""
        return self._resume(rest, self)

    def stage(self, step: Step, outcome: str, seconds: float, error: BaseException | None) -> None:
        """A stage is over.

        Args:
            outcome: `pass`, `drop`, `later`, `close`, `refuse`, or `error`.
            error: what its filter has raised.
        """
        noted: dict[str, str | int] = {
            names.STAGE: _name_of(step.id),
            names.OUTCOME: outcome,
            names.DURATION: round(seconds * 1e6),
        }
        self._span.add_event(names.EVENT_STAGE, noted)
        if outcome == "error" and error is not None:
            self.fault(error)

    def fault(self, error: BaseException) -> None:
        """A filter has raised what is no outcome."""
        name = type(error).__name__
        stack = "".join(traceback.format_exception(error))
        noted = {
            names.EXCEPTION: name,
            names.EXCEPTION_MESSAGE: text_of(message_of(error)),
            names.STACK: text_of(stack[-MAX_STACK:], MAX_STACK),
        }
        self._span.add_event(names.EVENT_EXCEPTION, noted)
        self._failed(name, text_of(f"{name}: {message_of(error)}"))

    def _failed(self, kind: str, why: str) -> None:
        self._span.set_attribute(names.ERROR, kind)
        self._span.set_status(Status(StatusCode.ERROR, why))

    def end(self, error: BaseException | None = None) -> None:
        """The event is over.

        Args:
            error: what has ended it; an outcome, or what `stage` has been told already.
        """
        if error is None and self._status:
            self._span.set_attribute(names.STATUS, self._status)
        elif isinstance(error, Close):
            self._span.set_attribute(names.CLOSE_CODE, error.code)
            self._span.set_attribute(names.CLOSE_REASON, text_of(error.reason))
        elif isinstance(error, Refusal):
            self._span.set_attribute(names.STATUS, error.status)
            self._span.set_attribute(names.REASON, text_of(error.reason))
            if error.status >= 500:
                self._failed(str(error.status), text_of(error.reason))
        self._span.end()
