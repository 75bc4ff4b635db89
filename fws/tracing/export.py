"""Where spans go: to a collector, in batches, from a greenlet of its own.

OpenTelemetry's processor and exporter use threads, locks and `requests`. gevent has patched all of them, so that the
thread is a greenlet, and waiting for the collector holds up nobody. Encoding a batch does, and a batch is therefore
small. A span that ends is put into a bounded queue, which takes no lock.
"""

from __future__ import annotations

import io
import logging
import os
import secrets
from typing import Any
from urllib.parse import urlsplit

import requests
from gevent import Timeout
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from fws import __version__
from fws.config import Traces

# Spans that are encoded in one go, which takes less than a turn of the event loop, and seconds between two looks.
BATCH = 64
DELAY = 1.0
# The path of OTLP over HTTP where a URL has none.
PATH = "/v1/traces"
# The most bytes of a collector's answer that are read, and seconds that it may take. Only its status matters.
MAX_ANSWER = 4096
PATIENCE = 10.0
# Otherwise, the level debug would have two lines about each request to the collector.
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)


class Session(requests.Session):
    """Sends requests, and reads of each answer no more than `MAX_ANSWER` bytes, within `PATIENCE` seconds."""

    def send(self, request: requests.PreparedRequest, **settings: Any) -> requests.Response:
        with Timeout(PATIENCE, requests.Timeout("the collector takes too long")):
            answer = super().send(request, **settings | {"stream": True})
            body = answer.raw
            text = body.read(MAX_ANSWER)
            if body.read(1):
                body.close()  # with its connection
            body.release_conn()
            answer.raw = io.BytesIO(text)
            return answer


def provider_to(exporter: SpanExporter, settings: Traces) -> TracerProvider:
    """What makes spans and gives them to an exporter, soon and in the background."""
    provider = provider_of(settings)
    provider.add_span_processor(
        BatchSpanProcessor(
            exporter,
            max_queue_size=settings.queue,
            schedule_delay_millis=DELAY * 1000,
            max_export_batch_size=BATCH,
        )
    )
    return provider


def provider_of(settings: Traces) -> TracerProvider:
    """What makes spans. fws itself decides which."""
    name = settings.service or os.environ.get("OTEL_SERVICE_NAME") or "fws"
    about = {"service.name": name, "service.version": __version__, "service.instance.id": secrets.token_hex(8)}
    return TracerProvider(ALWAYS_ON, Resource.create(about), shutdown_on_exit=False)


def collector(settings: Traces) -> SpanExporter:
    """Sends spans to the collector."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint_of(settings.endpoint) or None, session=Session())


def endpoint_of(url: str) -> str:
    """The whole URL: with the path of OTLP if it has none."""
    return url.rstrip("/") + PATH if url and urlsplit(url).path in ("", "/") else url
