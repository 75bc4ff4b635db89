"""Clients over plain HTTP: the response that carries them, CORS, and the path at which they send their commands."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import gevent
import msgspec
from gevent.event import AsyncResult
from msgspec import Meta
from werkzeug.wrappers import Response

from fws.base.decoding import decode
from fws.base.errors import Refusal
from fws.wire.encoding import json_bytes
from fws.wire.framing import Transport
from fws.wire.handshake import Origins, check_origin
from fws.wire.head import Head, Takes

if TYPE_CHECKING:
    from fws.clients.client import Client
    from fws.compiler.endpoint import Endpoint
    from fws.server.node import Node

# The key of a WSGI environ under which the application finds the head of the request, and whether it came over TLS.
HEAD = "fws.head"
SECURE = "fws.secure"
# Seconds for which a browser need not ask again whether it may send a request (CORS).
PREFLIGHT_AGE = "300"
# Seconds that commands wait for a client that is busy with earlier ones, and between two looks at it, which become
# fewer. At most so many requests wait for one client, because each of them costs memory and looks.
PATIENCE = 5.0
LOOK = 0.01
LONGEST_LOOK = 0.2
MOST_WAITING = 10
# What one node tells another: commands for one of its clients.
COMMANDS = "commands"

_CONTENT = {"sse": "text/event-stream; charset=utf-8", "http_stream": "application/json; charset=utf-8"}
# The ids of nodes. What cannot be one is not asked for in Redis.
_NODE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_STREAMS = Takes(("POST", "OPTIONS"))


class Emulated(msgspec.Struct, frozen=True):
    """The body of a request with commands, as SDKs send it.

    Attributes:
        session: the secret of a client.
        data: lines.
        node: the id of the client's node.
    """

    session: Annotated[str, Meta(min_length=1, max_length=100)]
    data: str
    node: Annotated[str, Meta(max_length=100)] = ""

    @classmethod
    def parse(cls, body: bytes) -> Emulated:
        """Read a body. `data` may also be one command, not in a text.

        Raises:
            ValueError: it is not one, or it is too deep or has too many parts.
        """
        try:
            # The lines are not looked at, however many brackets they have.
            return _decode(body)
        except (ValueError, RecursionError):
            single: _Single = decode(body, replace=True, decoder=_decode_single)
            return cls(single.session, json_bytes(single.data).decode(), single.node)


class _Single(msgspec.Struct, frozen=True):
    session: Annotated[str, Meta(min_length=1, max_length=100)]
    data: dict[str, Any]
    node: Annotated[str, Meta(max_length=100)] = ""


_decode = msgspec.json.Decoder(Emulated).decode
_decode_single = msgspec.json.Decoder(_Single).decode


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
        node.answers.add(COMMANDS, self.told)
        # The number of requests that wait, by the id of their client.
        self._waiting: Counter[str] = Counter()

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
        return Takes(_STREAMS.methods, endpoint.bounds.max_message)

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
            response = self._emulate(environ["wsgi.input"].read())
        else:
            response = _sentence(406, "This endpoint sends server-sent events: accept text/event-stream.")
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

    def _emulate(self, body: bytes) -> Response:
        try:
            request = Emulated.parse(body)
        except (ValueError, TypeError):
            return _sentence(400, "The body is not a JSON object with session, node and data.")
        client = self._node.sessions.get(request.session)
        if client is not None:
            return _sentence(204 if self._hand(client, request.data) else 503, "The client is busy.")
        if request.node == self._node.id:
            return _sentence(204, "")  # the session is gone, and its stream has ended
        if not _NODE.fullmatch(request.node):
            return _sentence(404, "There is no such node.")
        arrived: AsyncResult = AsyncResult()
        try:
            message = {"do": COMMANDS, "session": request.session, "data": request.data}
            self._node.nodes.tell(request.node, message, arrived.set)
        except ValueError:
            return _sentence(413, "The commands are too large.")
        return _sentence(204 if arrived.get() else 404, "There is no such node.")

    def _hand(self, client: Client, text: str) -> bool:
        """Give commands to a client of this node, when it has served earlier ones. Returns whether it could take them.

        Waiting is the backpressure: the answer comes when the client can take more.
        """
        clock = self._node.context.clock
        end, look = clock() + PATIENCE, LOOK
        if client.busy and self._waiting[client.id] >= MOST_WAITING:
            return False
        self._waiting[client.id] += 1
        try:
            while client.busy and not client.closing:
                if clock() > end:
                    return False
                gevent.sleep(look)
                look = min(2 * look, LONGEST_LOOK)
        finally:
            self._waiting[client.id] -= 1
            if not self._waiting[client.id]:
                del self._waiting[client.id]
        client.hear(text)
        return True

    def told(self, request: Mapping[str, Any]) -> None:
        """Another node has got commands for a client of this node."""
        client = self._node.sessions.get(str(request.get("session") or ""))
        data = request.get("data")
        if client is not None and isinstance(data, str):
            self._hand(client, data)


def _preflight(headers: list[tuple[str, str]]) -> Response:
    response = Response(status=204)
    response.headers.extend(headers)
    if len(headers) > 1:
        response.headers["Access-Control-Allow-Methods"] = "GET, POST, OPTIONS"
        response.headers["Access-Control-Allow-Headers"] = "Content-Type, Authorization, Last-Event-ID, Cache-Control"
        response.headers["Access-Control-Max-Age"] = PREFLIGHT_AGE
    return response


def _sentence(status: int, text: str) -> Response:
    return Response(f"{text}\n" if status >= 400 else b"", status, mimetype="text/plain")
