"""A collector: takes spans over OTLP/HTTP, as OpenTelemetry's own collector does, and keeps them."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Seen(msgspec.Struct):
    """One span.

    Attributes:
        service: the name of the server that has sent it.
        own: its `traceparent`; `parent` that of its parent, empty for none.
    """

    service: str
    name: str
    own: str
    parent: str
    attributes: dict[str, Any]
    stages: list[str]


class Collector(ThreadingHTTPServer):
    """A collector and a web service in one: every other path than that of OTLP answers with 204.

    Attributes:
        spans: what has arrived.
        asked: the header `traceparent` of other requests, by their path.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Seen] = []
        self.asked: dict[str, str] = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def wait(self, *events: str, timeout: float = 15) -> None:
        """Wait until there are spans about these events, as many as an event is named."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            left = list(events)
            for span in list(self.spans):
                if span.attributes.get("fws.event") in left:
                    left.remove(span.attributes["fws.event"])
            if not left:
                return
            time.sleep(0.02)
        raise AssertionError(f"{left} are missing: {self.spans}")

    def about(self, event: str) -> list[Seen]:
        return [span for span in self.spans if span.attributes.get("fws.event") == event]


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path != "/v1/traces":
            self.server.asked[self.path] = self.headers.get("traceparent", "")
            self._answer(204, b"")
            return
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = _attributes(group.resource.attributes)
            for scope in group.scope_spans:
                self.server.spans += [_seen(about["service.name"], span) for span in scope.spans]
        self._answer(200, ExportTraceServiceResponse().SerializeToString())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


def _seen(service: str, span: Any) -> Seen:
    trace = span.trace_id.hex()
    parent = f"00-{trace}-{span.parent_span_id.hex()}-01" if span.parent_span_id else ""
    noted = [_attributes(event.attributes) for event in span.events]
    stages = [f"{one['fws.stage']}: {one['fws.outcome']}" for one in noted if "fws.stage" in one]
    own = f"00-{trace}-{span.span_id.hex()}-01"
    return Seen(service, span.name, own, parent, _attributes(span.attributes), stages)
