"""An upgrade request becomes a client: everything between a checked head and the `connect` pipeline.

The handler uses it for sockets, and `fws.testing` for clients without a network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fws.base.errors import Refusal
from fws.clients.client import Client
from fws.wire.handshake import check_origin, choose_subprotocol
from fws.wire.request import Request

if TYPE_CHECKING:
    from fws.server.node import Node
    from fws.wire.head import Head


def route(
    node: Node,
    head: Head,
    address: str,
    enter: Callable[[], object],
    *,
    secure: bool,
    host: str | None,
    make: type[Client] = Client,
) -> Client:
    """The client for a valid upgrade request. Its `connect` pipeline has not run.

    Args:
        address: the IP address that the request comes from.
        enter: counts the connection towards the limits of its address, before anything else is decided.
        secure: whether the request came over TLS.
        host: the host that the client has asked a proxy for; None for that of the request.
        make: the class of the client.

    Raises:
        Refusal: there is no such endpoint, the address has exceeded a limit, or the origin may not connect.
    """
    found = node.generation.route(head.target.partition("?")[0])
    if found is None:
        raise Refusal(404, "There is no endpoint at this path.")
    endpoint, params = found
    enter()
    node.admission.check_logins(address)
    try:
        check_origin(head, endpoint.origins, secure=secure, host=host)
    except Refusal:
        node.context.metrics.count("origins_refused")
        raise
    subprotocol = choose_subprotocol(head, endpoint.settings.subprotocols)
    return make(endpoint, Request(head, params, address), node, subprotocol or "")
