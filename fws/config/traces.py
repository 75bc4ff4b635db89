"""`[traces]`: which events are traced, and where their spans go."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from fws.pipeline.options import Check, Help


def _check_endpoint(url: str) -> None:
    if not url:
        return
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or " " in url:
        raise ValueError(f'{url!r} is not the URL of a collector: write one such as "http://localhost:4318"')


class Traces(msgspec.Struct, frozen=True, kw_only=True):
    """Traces in OpenTelemetry's format. They need `pip install fws[otel]`."""

    ratio: Annotated[
        float,
        Meta(ge=0, le=1),
        Help(
            "The part of connections, messages and ticks that begin a trace, from 0 to 1. What follows from an event "
            "that is traced is traced too."
        ),
    ] = 0.01
    endpoint: Annotated[
        str,
        Help(
            'The collector, which speaks OTLP over HTTP, such as "http://localhost:4318"; without a path, /v1/traces '
            "is added. If empty, the environment decides: OTEL_EXPORTER_OTLP_ENDPOINT and the variables beside it."
        ),
        Check(_check_endpoint),
    ] = ""
    service: Annotated[
        str,
        Help("The name of this server in traces. If empty, OTEL_SERVICE_NAME decides, and without it the name is fws."),
    ] = ""
    follow: Annotated[
        int,
        Meta(ge=0),
        Help(
            "Handshakes per second whose sampled `traceparent` is followed, whatever the ratio is, in each process. "
            "Anybody who can connect can send one. With 0, the header is ignored."
        ),
    ] = 10
    most: Annotated[
        int,
        Meta(ge=1),
        Help("Spans per second in each process. Above it, events are handled without a trace, and counted."),
    ] = 1000
    queue: Annotated[
        int,
        Meta(ge=64),
        Help("Spans that wait to be sent. If the collector does not take them, the oldest are dropped."),
    ] = 2048
