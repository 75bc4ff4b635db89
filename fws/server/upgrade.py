"""A request becomes a client: everything between a checked head and the `connect` pipeline.

The handler uses it for sockets, and `fws.testing` for clients without a network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fws.base.errors import Refusal
from fws.clients.client import Client
from fws.protocols.sessions import SUBPROTOCOLS
from fws.wire.framing import Transport
from fws.wire.handshake import check_origin, check_site, choose_subprotocol
from fws.wire.request import Request

if TYPE_CHECKING:
    from fws.compiler.endpoint import Endpoint
    from fws.server.node import Node
    from fws.wire.head import Head

# The field of the query in which an EventSource, which can send nothing else, sends its first commands.
CONNECT = "cf_connect"


def route(
    node: Node,
    head: Head,
    address: str,
    enter: Callable[[], object],
    *,
    secure: bool,
    host: str | None,
    make: type[Client] = Client,
    transport: Transport = "websocket",
) -> Client:
    """The client for a valid request. Its `connect` pipeline has not run.

    Args:
        address: the IP address that the request comes from.
        enter: counts the connection towards the limits of its address, before anything else is decided.
        secure: whether the request came over TLS.
        host: the host that the client has asked a proxy for; None for that of the request.
        make: the class of the client.
        transport: what carries the client.

    Raises:
        Refusal: there is no such endpoint, the address has exceeded a limit, or the origin may not connect.
    """
    found = node.generation.route(head.target.partition("?")[0])
    if found is None:
        raise Refusal(404, "There is no endpoint at this path.")
    endpoint, params = found
    settings = endpoint.settings
    if transport not in settings.carriers:
        raise Refusal(404, f"This endpoint does not serve clients over {transport}.", cause="transport")
    enter()
    node.admission.check_logins(address)
    try:
        check_origin(head, endpoint.origins, secure=secure, host=host)
        if transport != "websocket":
            check_site(head, endpoint.origins)
    except Refusal:
        node.context.metrics.count("origins_refused")
        raise
    known = (*settings.subprotocols, *SUBPROTOCOLS.get(settings.protocol, ()))
    subprotocol = choose_subprotocol(head, known) if transport == "websocket" else None
    return make(endpoint, Request(head, params, address), node, subprotocol or "", transport)


def stream_of(node: Node, head: Head) -> Transport | None:
    """The transport that a plain request opens; None if it is for the application.

    Where an endpoint has its own path, every GET opens an event stream, so that `curl` need not say what it accepts.
    The endpoint of all other paths shares them with files.
    """
    generation = node.generation
    if not generation.streams or head.method not in ("GET", "POST"):
        return None
    endpoint = endpoint_of(node, head)
    if endpoint is None:
        return None
    carriers, accepts = endpoint.settings.carriers, head.get("accept") or ""
    events = "sse" in carriers and ("text/event-stream" in accepts or head.method == "GET")
    if endpoint.settings.protocol == "centrifuge":
        if head.method == "POST":
            return "sse" if events else "http_stream" if "http_stream" in carriers else None
        return "sse" if events and CONNECT in head.query else None
    named = endpoint.path is not None or "text/event-stream" in accepts
    return "sse" if events and head.method == "GET" and named else None


def endpoint_of(node: Node, head: Head) -> Endpoint | None:
    """The endpoint of a request; None if there is none, or the path is refused."""
    try:
        found = node.generation.route(head.target.partition("?")[0])
    except Refusal:
        return None
    return None if found is None else found[0]


def first_text(head: Head, body: bytes) -> str:
    """The first commands of a client over plain HTTP: the body of a POST, or the field `cf_connect` of the query.

    Raises:
        Refusal: they are not JSON in UTF-8.
    """
    if head.method != "POST":
        return Request(head, {}, "").query.get(CONNECT, "")
    if (head.get("content-type") or "").startswith("application/octet-stream"):
        raise Refusal(415, "This server speaks JSON: use the client for JSON, not the one for Protobuf.")
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise Refusal(400, "The body is not UTF-8.") from None
