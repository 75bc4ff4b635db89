"""The server events, each declared once.

Filters, pipelines, conditions, endpoints and the reference derive from this table.
"""

from __future__ import annotations

from typing import Final

import msgspec


class Event(msgspec.Struct, frozen=True):
    """One server event.

    Attributes:
        name: as it is written in TOML, and as the method of a filter is named.
        arguments: what a hook is called with, besides `self`.
        help: one sentence for the reference.
        names: what a condition can ask about on this event; anything else would always be null. Empty: nothing.
        flows: what flows through the pipeline, as an author would say it; empty where nothing flows.
        of_client: whether the event happens to one client, so that each endpoint has a pipeline for it.
    """

    name: str
    arguments: tuple[str, ...]
    help: str
    names: tuple[str, ...] = ()
    flows: str = ""
    of_client: bool = True


_CLIENT = ("client", "request", "identity", "state", "params")

# In the order of a client's life.
TABLE: Final = (
    Event(
        "connect",
        ("client",),
        "A client asks to connect: the upgrade request has been read, and the response has not been sent.",
        names=_CLIENT,
    ),
    Event(
        "data",
        ("client", "data"),
        "Raw bytes arrive from a client, before they are parsed as frames.",
        flows="bytes",
    ),
    Event(
        "message",
        ("client", "message"),
        "A complete message arrives from a client.",
        names=(*_CLIENT, "message"),
        flows="a message",
    ),
    Event(
        "publication",
        ("publication",),
        "A publication reaches this process: once, before the fan-out.",
        names=("message", "channel"),
        flows="a publication",
        of_client=False,
    ),
    Event(
        "deliver",
        ("client", "publication"),
        "A publication is about to be sent to a client: once for each receiver.",
        names=(*_CLIENT, "message", "channel"),
        flows="a publication",
    ),
    Event(
        "disconnect",
        ("client",),
        "A client has left, however its connection ended.",
        names=_CLIENT,
    ),
)
BY_NAME: Final = {event.name: event for event in TABLE}
EVENTS: Final = tuple(BY_NAME)
"""The names of all events."""
CLIENT_EVENTS: Final = tuple(event.name for event in TABLE if event.of_client)
"""The names of the events that an endpoint has a pipeline for."""
