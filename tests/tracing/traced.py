"""Simulations whose events are traced, and their spans."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from fws.config import Traces
from fws.testing.simulation import Simulation
from fws.tracing.export import provider_of
from fws.tracing.tracer import Tracer
from tests.filters.timing import written

# Contexts as the clients of tests send them.
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{SPAN}-01"
NOT_SAMPLED = f"00-{TRACE}-{SPAN}-00"


class TracedSimulation(Simulation):
    """A simulation with `[traces]`; the spans of all nodes go into memory."""

    def __init__(self, folder: Path, conf: str, nodes: Iterable[str] = ("",), **settings: Any) -> None:
        super().__init__(written(folder, conf), {}, nodes)
        self.exporter = InMemorySpanExporter()
        chosen = Traces(**({"ratio": 1.0} | settings))
        provider = provider_of(chosen)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        for node in self.nodes.values():
            node.begin_tracing(Tracer(chosen, provider, node.context.metrics, node.context.clock))
            for pipeline in node.generation.pipelines():
                pipeline.observe(None)  # the simulation's own trace is not needed

    def __enter__(self) -> TracedSimulation:
        return self

    def spans(self, event: str = "") -> list[ReadableSpan]:
        """The spans that have ended, by the event that they are about; all by default."""
        ended = self.exporter.get_finished_spans()
        return [span for span in ended if not event or of(span, "fws.event") == event]

    def one(self, event: str) -> ReadableSpan:
        """The only span about this event."""
        [span] = self.spans(event)
        return span


def of(span: ReadableSpan, name: str) -> Any:
    """An attribute; None if the span has none of this name."""
    return (span.attributes or {}).get(name)


def ids(span: ReadableSpan) -> tuple[str, str]:
    """The ids of the trace and of the span."""
    context = span.get_span_context()
    assert context is not None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def trace_of(span: ReadableSpan) -> str:
    return ids(span)[0]


def header_of(span: ReadableSpan) -> str:
    """The `traceparent` that names the span as the parent."""
    return "00-{}-{}-01".format(*ids(span))


def parent_of(span: ReadableSpan) -> str:
    """The `traceparent` of the span's parent; empty for the first span of a trace."""
    parent = span.parent
    return "" if parent is None else f"00-{parent.trace_id:032x}-{parent.span_id:016x}-01"


def stages(span: ReadableSpan) -> list[tuple[str, str]]:
    """The stages of a span and their outcomes, in the order in which they ended."""
    return [
        (str((event.attributes or {})["fws.stage"]), str((event.attributes or {})["fws.outcome"]))
        for event in span.events
        if event.name == "stage"
    ]
