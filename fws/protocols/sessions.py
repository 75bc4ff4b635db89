"""Which adapter speaks for a client: by the protocol of its endpoint, and the transport that carries it."""

from __future__ import annotations

from collections.abc import Callable

from fws.protocols.base import Peer, Session
from fws.protocols.centrifuge.session import CentrifugeSession
from fws.protocols.events import EventSession
from fws.wire.framing import EVENTS, LINES, Transport

# The subprotocols that a protocol knows, besides those of the endpoint. A client that asks for Protobuf is told in its
# connection that it must speak JSON, because a browser tells nobody why a handshake has failed.
SUBPROTOCOLS = {"centrifuge": ("centrifuge-json", "centrifuge-protobuf")}


def session_of(
    peer: Peer,
    protocol: str,
    transport: Transport,
    *,
    ping: float,
    timeout: float,
    last: str,
    identifies: Callable[[], tuple[str, str]],
) -> Session | None:
    """The adapter of a new client; None for `raw` over a WebSocket, which needs none.

    Args:
        ping: seconds between two pings.
        timeout: seconds that the client has for its first command.
        last: the `Last-Event-ID` of its request.
        identifies: gives the secret of the client's session and the id of the node.
    """
    if protocol == "centrifuge":
        if transport == "websocket":
            return CentrifugeSession(peer, ping, timeout)
        session = CentrifugeSession(peer, ping, timeout, identifies)
        session.framing = EVENTS if transport == "sse" else LINES
        return session
    return EventSession(peer, last) if transport == "sse" else None
