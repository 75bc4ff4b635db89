"""Decoders for protocols whose text messages are lines, and for transports on which the client sends nothing more."""

from __future__ import annotations

from fws.base.close_codes import POLICY_VIOLATION
from fws.wire.frames import Decoder, Event, Violation

# The most lines of one message. Each may run a pipeline, as a message of its own would.
MAX_LINES = 2000


class LineDecoder(Decoder):
    """Gives each line of a text message as an event of its own, so that limits and turns count lines."""

    __slots__ = ()

    def feed(self, data: bytes | bytearray | memoryview) -> list[Event]:
        """As `Decoder.feed`."""
        events = super().feed(data)
        if not any(type(event) is str and "\n" in event for event in events):
            return events
        lines: list[Event] = []
        for event in events:
            if isinstance(event, str):
                lines += lines_of(event)
            else:
                lines.append(event)
        return lines


class Deaf(Decoder):
    """Ignores all bytes: the request is complete, and nothing may follow it."""

    __slots__ = ()

    def feed(self, data: bytes | bytearray | memoryview) -> list[Event]:
        """As `Decoder.feed`."""
        return []


def lines_of(text: str) -> list[Event]:
    """The lines of a message; a violation in the place of those that are too many."""
    lines: list[Event] = list(text.split("\n", MAX_LINES))
    if len(lines) > MAX_LINES:
        lines[-1] = Violation(POLICY_VIOLATION, f"a message has at most {MAX_LINES} lines")
    return lines
