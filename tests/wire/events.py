"""Reads an event stream as the standard says a browser does (WHATWG HTML, 9.2.6), independently of fws."""

from __future__ import annotations

import re
from typing import NamedTuple


class Event(NamedTuple):
    """What a browser dispatches, and the id that it would send when it returns."""

    data: str
    name: str = "message"
    id: str = ""


def parse_events(stream: str) -> list[Event]:
    """The events of a stream, which begins with the first one. What follows the last blank line is not dispatched."""
    events: list[Event] = []
    data: list[str] = []
    name = id = ""
    # The standard knows three line ends, and not the others of `splitlines`.
    for line in re.split("\r\n|\n|\r", stream.removeprefix("\ufeff"))[:-1]:
        if not line:
            if data:
                events.append(Event("\n".join(data), name or "message", id))
            data, name = [], ""
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "event":
            name = value
        elif field == "id" and "\0" not in value:
            id = value
    return events
