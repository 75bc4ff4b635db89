"""The server events, each declared once.

A new event is one row of `TABLE`. Filters, the checks of their results, pipelines, conditions, endpoints, the
reference pages and the JSON Schema derive from the row.
"""

from __future__ import annotations

from typing import Final

import msgspec

from fws.pipeline.outcomes import Ask, Later, Several
from fws.pipeline.publication import Publication


class Event(msgspec.Struct, frozen=True):
    """One server event.

    Attributes:
        name: the key in TOML and the name of a filter's method.
        arguments: what a hook is called with, after `self`.
        help: one sentence for the reference.
        names: what a condition can ask about on this event. Anything else would always be null.
        flows: what flows through the pipeline, in words; empty where nothing flows.
        results: the types that a hook may return besides None and `DROP`.
        any_value: whether values of other types may flow as well.
        refuses: whether a hook refuses the client by raising `Reject`.
        of_client: whether the event happens to one client, so that each endpoint has a pipeline for it.
        of_schedule: whether the event is a schedule's, so that each schedule has a pipeline for it.
    """

    name: str
    arguments: tuple[str, ...]
    help: str
    names: tuple[str, ...] = ()
    flows: str = ""
    results: frozenset[type] = frozenset()
    any_value: bool = False
    refuses: bool = False
    of_client: bool = True
    of_schedule: bool = False

    @property
    def of_channel(self) -> bool:
        """Whether the event is about a channel, and nothing flows."""
        return self.arguments[-1] == "channel"

    @property
    def signature(self) -> str:
        """How a filter defines the hook: `message(self, client, message)`."""
        return f"{self.name}({', '.join(('self', *self.arguments))})"

    @property
    def allowed(self) -> str:
        """What a hook may return, in words: `a Publication, None or DROP`."""
        words = [self.flows] if self.flows else []
        words += ["None", "DROP", *(cls.__name__ for cls in _SPECIAL if cls in self.results)]
        return f"{', '.join(words[:-1])} or {words[-1]}"


_SPECIAL: tuple[type, ...] = (Ask, Several, Later)
CLIENT_NAMES: Final = ("client", "request", "identity", "state", "params")
"""What a condition can ask about a client at any time."""
# While it calls, also about its call.
_CALLER = (*CLIENT_NAMES, "call")
_BYTES = frozenset([bytes, bytearray, memoryview])
_MESSAGES = _BYTES | {str, dict, list, tuple, int, float, bool, Several, Later}

# In the order of a client's life.
TABLE: Final = (
    Event(
        "connect",
        ("client",),
        "A client asks to connect: the upgrade request has been read, and the response has not been sent.",
        names=_CALLER,
        results=frozenset((Ask,)),
        refuses=True,
    ),
    Event(
        "data",
        ("client", "data"),
        "Raw bytes arrive from a client, before they are parsed as frames.",
        flows="bytes",
        results=_BYTES,
    ),
    Event(
        "subscribe",
        ("client", "channel"),
        "A client requests a channel itself, which it may have according to [channels], and is not a member yet.",
        names=(*_CALLER, "channel"),
        refuses=True,
    ),
    Event(
        "message",
        ("client", "message"),
        "A complete message arrives from a client.",
        names=(*_CALLER, "message"),
        flows="the message that flows on",
        results=_MESSAGES,
        any_value=True,
    ),
    Event(
        "publication",
        ("publication",),
        "A publication reaches this process: once, before the fan-out.",
        names=("message", "channel"),
        flows="a Publication",
        results=frozenset((Publication,)),
        of_client=False,
    ),
    Event(
        "deliver",
        ("client", "publication"),
        "A publication is about to be sent to a client: once for each receiver.",
        names=(*CLIENT_NAMES, "message", "channel"),
        flows="a Publication",
        results=frozenset((Publication,)),
    ),
    Event(
        "unsubscribe",
        ("client", "channel"),
        "A subscription has ended, however it ended.",
        names=(*CLIENT_NAMES, "channel"),
    ),
    Event(
        "disconnect",
        ("client",),
        "A client has left, however its connection ended.",
        names=CLIENT_NAMES,
    ),
    Event(
        "tick",
        ("message",),
        "A schedule is due: the pipeline of [schedules.NAME] runs, without a client.",
        names=("message",),
        flows="the message that flows on",
        results=_MESSAGES,
        any_value=True,
        of_client=False,
        of_schedule=True,
    ),
)
BY_NAME: Final = {event.name: event for event in TABLE}
EVENTS: Final = tuple(BY_NAME)
"""The names of all events."""
CLIENT_EVENTS: Final = tuple(event.name for event in TABLE if event.of_client)
"""The names of the events that an endpoint has a pipeline for."""
SERVER_EVENTS: Final = tuple(event.name for event in TABLE if not event.of_client and not event.of_schedule)
"""The names of the events that have one pipeline in each process."""
PIPELINES: Final = (*CLIENT_EVENTS, *SERVER_EVENTS)
"""The names of the events that [pipelines] may have, in no particular order."""
