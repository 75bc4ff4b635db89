"""Decides which events are traced, and begins their spans, named as OpenTelemetry's conventions say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import random
from typing import Any

import gevent
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags, set_span_in_context

from fws.base.metrics import Metrics
from fws.base.trace import TraceContext, parse_traceparent
from fws.channels.channel import ENTRY, Channel, Entry
from fws.compiler.generation import Generation
from fws.config import Traces
from fws.pipeline.events import SERVER_EVENTS
from fws.pipeline.pipeline import Pipeline
from fws.pipeline.publication import Publication
from fws.tracing import names
from fws.tracing.deliveries import Deliveries
from fws.tracing.pipelines import Resumption, TracedPipeline
from fws.tracing.span import EventSpan, Recorder, text_of

SYSTEM = "fws"
# The events of a client whose pipelines are traced.
REQUESTS = ("connect", "subscribe")


class Tracer:
    """Traces the events of one process. Implements `fws.tracing.pipelines.Tracing`.

    Args:
        provider: makes spans, and sends them.
        clock: monotonic seconds.

    Attributes:
        ratio: the part of messages and ticks that are traced.
        deliveries: the spans of publications on their way to members.
    """

    def __init__(
        self, settings: Traces, provider: TracerProvider, metrics: Metrics, clock: Callable[[], float]
    ) -> None:
        self.ratio = settings.ratio
        self.deliveries = Deliveries(self._delivery)
        self._provider = provider
        self._tracer = provider.get_tracer("fws")
        self._metrics = metrics
        self._clock = clock
        self._all = _Gate(settings.most)
        self._followed = _Gate(settings.follow)

    def instrument(self, generation: Generation) -> None:
        """Trace a generation. Pipelines that it shares with the former one are traced already."""
        for endpoint in generation.all_endpoints():
            for event in (*REQUESTS, "message"):
                setattr(endpoint, event, self._traced(getattr(endpoint, event)))
        for event in SERVER_EVENTS:
            setattr(generation, event, self._traced(getattr(generation, event)))
        generation.schedules = {name: self._traced(one) for name, one in generation.schedules.items()}

    def _traced(self, pipeline: Pipeline) -> TracedPipeline:
        return pipeline if isinstance(pipeline, TracedPipeline) else TracedPipeline(pipeline, self)

    def stop(self, seconds: float) -> None:
        """Send the spans that wait, as far as that is possible within this time. Blocks."""
        ending = gevent.spawn(self._provider.shutdown)
        ending.join(seconds)
        ending.kill(block=False)

    # Which events are traced.

    def request(self, pipeline: Recorder, client: Any, channel: str, first: int) -> EventSpan | None:
        if channel:
            return self._subscribe(pipeline, client, channel)
        parent: TraceContext | None
        if first:
            parent = client.trace  # the span of the filters before the one that has asked the client
            if parent is None:
                return None
        else:
            parent = parse_traceparent(client.request.headers.get("traceparent")) if self._followed.rate else None
            if parent is not None and not parent.sampled:
                return None
            if parent is not None and not self._followed.passes(self._clock()):
                parent = None
            if parent is None and random() >= self.ratio:
                return None
        if not self._passes():
            return None
        name = _named(names.CONNECT, client.endpoint.path)
        status = 200 if _streams(client) else 101
        span = self._event(pipeline, name, SpanKind.SERVER, _handshake(client), parent, status=status)
        client.trace = span.context
        return span

    def _subscribe(self, pipeline: Recorder, client: Any, channel: str) -> EventSpan | None:
        if random() >= self.ratio or not self._passes():
            return None
        noted = _about(client) | {names.EVENT: names.SUBSCRIBE, names.CHANNEL: text_of(channel)}
        name = _named(names.SUBSCRIBE, client.endpoint.path)
        return self._event(pipeline, name, SpanKind.SERVER, noted, links=_links(client))

    def message(self, pipeline: Recorder, client: Any, message: Any) -> EventSpan | None:
        if not self._passes():
            return None
        route = client.endpoint.path
        noted = _about(client) | {
            names.EVENT: names.MESSAGE,
            names.SYSTEM: SYSTEM,
            names.OPERATION: names.MESSAGE,
            names.OPERATION_TYPE: "process",
            names.DESTINATION: text_of(client.path),
        }
        if isinstance(message, str | bytes):
            noted[names.SIZE] = len(message if isinstance(message, bytes) else message.encode("utf-8", "replace"))
        if route is not None:
            noted[names.TEMPLATE] = route
        call = client.call
        if call.kind != "message":
            noted[names.CALL] = call.kind
            if call.channel:
                noted[names.CHANNEL] = text_of(call.channel)
            if call.method:
                noted[names.CALL_METHOD] = text_of(call.method)
        span = self._event(pipeline, _named(names.MESSAGE, route), SpanKind.CONSUMER, noted, links=_links(client))
        client.asked = str(span.context)
        return span

    def tick(self, pipeline: Recorder, message: Any) -> EventSpan | None:
        if not self._passes():
            return None
        name = str(message.get("schedule", "")) if isinstance(message, dict) else ""
        return self._event(pipeline, _named(names.TICK, name), SpanKind.INTERNAL, {names.EVENT: names.TICK})

    def publication(self, pipeline: Recorder, publication: Publication) -> EventSpan | None:
        parent = parse_traceparent(publication.trace)
        if parent is None or not parent.sampled or not self._passes():
            return None
        noted = {names.EVENT: names.PUBLICATION, names.ORIGIN: publication.origin} | _channel(publication)
        return self._event(pipeline, names.PUBLICATION, SpanKind.INTERNAL, noted, parent)

    def resumed(self, span: EventSpan) -> EventSpan | None:
        if not self._passes():
            return None
        noted = {names.EVENT: span.pipeline.event, names.RESUMED: True}
        return self._event(span.pipeline, span.name, SpanKind.INTERNAL, noted, span.context)

    def _delivery(self, channel: Channel, entry: Entry) -> Span | None:
        """The span of a publication on its way to the members of a channel; None if it is not traced."""
        publication = entry.publication
        parent = parse_traceparent(publication.trace)
        if parent is None or not parent.sampled or not self._passes():
            return None
        noted = _channel(publication) | {
            names.EVENT: names.DELIVERY,
            names.ORIGIN: publication.origin,
            names.MEMBERS: len(channel.members),
            names.SYSTEM: SYSTEM,
            names.OPERATION: names.DELIVERY,
            names.OPERATION_TYPE: "process",
            names.SIZE: entry.weight - ENTRY,
        }
        return self._begin(names.DELIVERY, SpanKind.CONSUMER, noted, parent)

    def _passes(self) -> bool:
        if self._all.passes(self._clock()):
            return True
        self._metrics.count("traces_over_limit")
        return False

    # Spans.

    def _event(
        self,
        pipeline: Recorder,
        name: str,
        kind: SpanKind,
        noted: Mapping[str, Any],
        parent: TraceContext | None = None,
        links: Sequence[Link] = (),
        status: int = 0,
    ) -> EventSpan:
        return EventSpan(self._begin(name, kind, noted, parent, links), pipeline, self._resumption, status)

    def _begin(
        self,
        name: str,
        kind: SpanKind,
        noted: Mapping[str, Any],
        parent: TraceContext | None = None,
        links: Sequence[Link] = (),
    ) -> Span:
        context = Context()
        if parent is not None:
            context = set_span_in_context(NonRecordingSpan(_remote(parent)), context)
        return self._tracer.start_span(name, context, kind, noted, links)

    def _resumption(self, rest: Pipeline, span: EventSpan) -> Pipeline:
        return Resumption(rest, span, self)


class _Gate:
    """Lets so many things pass in each second. A token bucket would take twice the time for those that it stops."""

    __slots__ = ("_left", "_until", "rate")

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._left = 0
        self._until = -1.0

    def passes(self, now: float) -> bool:
        if now >= self._until:
            self._left, self._until = self.rate, now + 1.0
        self._left -= 1
        return self._left >= 0


def _named(what: str, where: str | None) -> str:
    return what if not where else f"{what} {where}"


def _remote(context: TraceContext) -> SpanContext:
    ids = int(context.trace_id, 16), int(context.span_id, 16)
    return SpanContext(*ids, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED if context.sampled else 0))


def _links(client: Any) -> Sequence[Link]:
    """A connection may last for weeks, and a trace that does is of no use: its messages are linked to it."""
    return () if client.trace is None else (Link(_remote(client.trace)),)


def _about(client: Any) -> dict[str, Any]:
    return {names.CLIENT: client.id, names.ADDRESS: text_of(client.address)}


def _channel(publication: Publication) -> dict[str, Any]:
    name = publication.channel
    return {} if name is None else {names.DESTINATION: text_of(name)}


def _streams(client: Any) -> bool:
    """Whether a client came over plain HTTP."""
    return client.session is not None and bool(client.session.framing.streams)


def _handshake(client: Any) -> dict[str, Any]:
    """The attributes of a handshake. The query is left out, because it may contain a token."""
    request, streams = client.request, _streams(client)
    noted: dict[str, Any] = _about(client) | {
        names.EVENT: names.CONNECT,
        names.PROTOCOL: client.protocol,
        names.TRANSPORT: "http" if streams else "websocket",
        names.METHOD: request.method,
        names.PATH: text_of(request.path),
    }
    if client.endpoint.path is not None:
        noted[names.ROUTE] = client.endpoint.path
    agent = request.headers.get("user-agent")
    if agent:
        noted[names.AGENT] = text_of(agent)
    return noted
