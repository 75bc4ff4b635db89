"""A challenge: a `connect` filter returned `Ask`, and the client's first message decides whether it is admitted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fws.base.timers import Timer
from fws.pipeline.outcomes import Ask
from fws.pipeline.pipeline import Pipeline

Divert = Callable[[Any, Any], bool]


class Challenge:
    """What the server keeps between the question and the client's answer.

    Args:
        ask: the question.
        connect: the pipeline that asked. Its rest runs after a good answer, also if a reload has replaced it.
        next_filter: the number of the filter that runs next.
        channels: the channels that the client had joined. It becomes a member again when it is admitted.
        diverts: the functions that look at the client's messages once it is admitted.
        timer: refuses the client if no answer arrives in time.
    """

    __slots__ = ("ask", "channels", "connect", "diverts", "next_filter", "timer")

    def __init__(
        self,
        ask: Ask,
        connect: Pipeline,
        next_filter: int,
        channels: tuple[str, ...],
        diverts: tuple[Divert, ...],
        timer: Timer,
    ) -> None:
        self.ask = ask
        self.connect = connect
        self.next_filter = next_filter
        self.channels = channels
        self.diverts = diverts
        self.timer = timer
