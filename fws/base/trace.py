"""The context of what is traced at the moment: W3C Trace Context (https://www.w3.org/TR/trace-context/).

A context is known to the greenlet that handles an event, and in the event loop to the callback that does. It does not
pass to greenlets that these start. Without `[traces]` there is never one.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol

# The length of a header in the version 00. Later versions may add to it.
LENGTH = 55
# The most characters that are looked at.
MAX_LENGTH = 512
_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})", re.ASCII
)


class TraceContext(NamedTuple):
    """Identifies a span: 32 and 16 hexadecimal digits, and whether it is recorded. As a text it is a `traceparent`."""

    trace_id: str
    span_id: str
    sampled: bool = True

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


def parse_traceparent(text: Any) -> TraceContext | None:
    """The context in a `traceparent` header. None for anything that the specification does not allow."""
    if not isinstance(text, str) or not LENGTH <= len(text) <= MAX_LENGTH:
        return None
    match = _TRACEPARENT.match(text)
    if match is None:
        return None
    version, rest = match[1], text[LENGTH:]
    if rest and (version == "00" or not rest.startswith("-")):
        return None
    return TraceContext(match[2], match[3], bool(int(match[4], 16) & 1))


def fields(context: TraceContext | None) -> dict[str, str]:
    """What a line of the log has about an event that was traced."""
    return {} if context is None else {"trace_id": context.trace_id, "span_id": context.span_id}


def mark(error: BaseException, context: TraceContext) -> None:
    """Note in which event something was raised. Whoever logs it does that after the event."""
    error.fws_trace = context  # type: ignore[attr-defined]


def mark_of(error: BaseException) -> TraceContext | None:
    """The event in which something was raised; None if it was not traced."""
    context = getattr(error, "fws_trace", None)
    return context if isinstance(context, TraceContext) else None


class Traced(Protocol):
    """The span of an event that is handled."""

    @property
    def context(self) -> TraceContext:
        """Identifies the span."""

    def resumption(self, rest: Any) -> Any:
        """The rest of a pipeline, for a message that flows on later: its run is then a part of the same trace."""


current: ContextVar[Traced | None] = ContextVar("fws_trace", default=None)


def traceparent() -> str:
    """The value of the header for what the present event asks others to do; empty if the event is not traced."""
    traced = current.get()
    return "" if traced is None else str(traced.context)


def headers() -> dict[str, str]:
    """The header for a request that the present event makes."""
    value = traceparent()
    return {"traceparent": value} if value else {}


def resumption(rest: Any) -> Any:
    """The rest of a pipeline, for a message of the present event that flows on later."""
    traced = current.get()
    return rest if traced is None else traced.resumption(rest)
