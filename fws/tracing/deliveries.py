"""The spans of publications from the moment that they are given to a channel until all its members have been served."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.trace import Span

from fws.channels.channel import Channel, Entry


class Deliveries:
    """The publications that are traced and not written yet. Implements `fws.channels.hub.Deliveries`.

    Args:
        begin: begins a span; None for a publication that is not traced.
    """

    __slots__ = ("_begin", "_spans")

    def __init__(self, begin: Callable[[Channel, Entry], Span | None]) -> None:
        self._begin = begin
        self._spans: dict[Channel, list[tuple[Entry, Span]]] = {}

    def __bool__(self) -> bool:
        return bool(self._spans)

    def begin(self, channel: Channel, entry: Entry) -> None:
        span = self._begin(channel, entry)
        if span is not None:
            self._spans.setdefault(channel, []).append((entry, span))

    def written(self, channel: Channel) -> None:
        spans = self._spans.pop(channel, ())
        waiting = set(map(id, channel.waiting)) if spans else ()
        left = []
        for entry, span in spans:
            if id(entry) in waiting:
                left.append((entry, span))
            else:
                span.end()
        if left:
            self._spans[channel] = left
