"""Clients over plain HTTP: the response that carries them, CORS, and the path at which they send their commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from werkzeug.wrappers import Response

from fws.base.errors import Refusal
from fws.server.emulation import Emulation
from fws.wire.framing import Transport
from fws.wire.handshake import Origins, check_origin
from fws.wire.head import Head, Takes

if TYPE_CHECKING:
    from fws.compiler.endpoint import Endpoint
    from fws.server.node import Node

# The key of a WSGI environ under which the application finds the head of the request, and whether it came over TLS.
HEAD = "fws.head"
SECURE = "fws.secure"
# Seconds for which a browser need not ask again whether it may send a request (CORS).
PREFLIGHT_AGE = "300"
_CONTENT = {"sse": "text/event-stream; charset=utf-8", "http_stream": "application/json; charset=utf-8"}


def stream_headers(transport: Transport) -> list[tuple[str, str]]:
    """The headers of a response that carries a client. It ends with the connection, also for HTTP/1.0 proxies."""
    return [
        ("Content-Type", _CONTENT[transport]),
        ("Cache-Control", "no-cache, no-store, must-revalidate, no-transform"),
        ("X-Accel-Buffering", "no"),  # nginx passes each event on at once
        ("X-Content-Type-Options", "nosniff"),
        ("Connection", "close"),
    ]


def cors_headers(head: Head, origins: Origins, *, secure: bool, host: str | None = None) -> list[tuple[str, str]]:
    """What lets a page of another origin read the response, if `origins` allows the page (WHATWG Fetch, CORS).

    Cookies may be sent only from origins that are named, not with `"*"`.
    """
    origin = head.get("origin")
    if origin is None:
        return []
    try:
        check_origin(head, origins, secure=secure, host=host)
    except Refusal:
        return [("Vary", "Origin")]
    headers = [("Access-Control-Allow-Origin", origin), ("Vary", "Origin")]
    return headers if origins.everyone else [*headers, ("Access-Control-Allow-Credentials", "true")]


class Streams:
    """What the application answers for clients over plain HTTP: preflights, and requests with commands.

    Args:
        node: the parts of the process.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._emulation = Emulation(node)

    @property
    def _emulates(self) -> bool:
        """Whether there can be clients that send commands."""
        endpoints = self._node.generation.all_endpoints()
        return any(
            one.settings.protocol == "centrifuge" and set(one.settings.carriers) - {"websocket"} for one in endpoints
        )

    def takes(self, path: str) -> Takes | None:
        """As `Application.takes`."""
        generation = self._node.generation
        if not generation.streams:
            return None
        if path == generation.config.server.emulation and self._emulates:
            # JSON in a JSON string is longer than itself, in practice by less than a half.
            return Takes(("POST", "OPTIONS"), 2 * generation.config.limits.max_message)
        endpoint = self._endpoint_at(path)
        if endpoint is None or not set(endpoint.settings.carriers) - {"websocket"}:
            return None
        if endpoint.settings.protocol != "centrifuge":
            return Takes(("GET", "HEAD", "OPTIONS"))
        return Takes(("POST", "OPTIONS"), endpoint.bounds.max_message)

    def respond(self, path: str, environ: Mapping[str, Any]) -> Response | None:
        """The response; None if the request is not for a client over plain HTTP."""
        method = environ["REQUEST_METHOD"]
        if method in ("GET", "HEAD") or self.takes(path) is None:
            return None
        origins = self._origins_of(path)
        headers: list[tuple[str, str]] = []
        for one in origins:
            headers = cors_headers(environ[HEAD], one, secure=environ[SECURE])
            if len(headers) > 1:
                break
        if method == "OPTIONS":
            if origins and len(headers) < 2:
                self._log_origin(path, environ, origins[0])
            return _preflight(headers)
        if path == self._node.generation.config.server.emulation:
            status, text = self._emulation.answer(environ["wsgi.input"].read())
        else:
            status, text = 406, "This endpoint sends server-sent events: accept text/event-stream."
        if status >= 400:
            self._node.context.refusals.record(Refusal(status, text), environ["REMOTE_ADDR"], f"POST {path}")
        response = sentence(status, text)
        response.headers.extend(headers)
        return response

    def _log_origin(self, path: str, environ: Mapping[str, Any], origins: Origins) -> None:
        """A page may not send the request that its browser asks about. The page learns no reason: the log has it."""
        try:
            check_origin(environ[HEAD], origins, secure=environ[SECURE])
        except Refusal as refusal:
            self._node.context.metrics.count("origins_refused")
            self._node.context.refusals.record(refusal, environ["REMOTE_ADDR"], f"OPTIONS {path}")

    def _origins_of(self, path: str) -> list[Origins]:
        """The origins that may send requests to a path. The session's secret proves whose the commands are."""
        generation = self._node.generation
        if path == generation.config.server.emulation:
            return [one.origins for one in generation.all_endpoints() if one.settings.protocol == "centrifuge"]
        endpoint = self._endpoint_at(path)
        return [] if endpoint is None else [endpoint.origins]

    def _endpoint_at(self, path: str) -> Endpoint | None:
        """The endpoint of a decoded path; None if there is none, or the path is refused."""
        try:
            found = self._node.generation.route(quote(path))
        except Refusal:
            return None
        return None if found is None else found[0]


def _preflight(headers: list[tuple[str, str]]) -> Response:
    response = Response(status=204)
    response.headers.extend(headers)
    if len(headers) > 1:
        response.headers["Access-Control-Allow-Methods"] = "GET, POST, OPTIONS"
        response.headers["Access-Control-Allow-Headers"] = "Content-Type, Authorization, Last-Event-ID, Cache-Control"
        response.headers["Access-Control-Max-Age"] = PREFLIGHT_AGE
    return response


def sentence(status: int, text: str) -> Response:
    """A response without anything but a sentence, which only an error needs."""
    return Response(f"{text}\n" if status >= 400 else b"", status, mimetype="text/plain")
