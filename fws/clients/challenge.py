"""A challenge: a `connect` filter returned `Ask`, and the client's first message decides whether it is admitted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fws.base.timers import Timer
from fws.pipeline.outcomes import Ask

Divert = Callable[[Any, Any], bool]


class Challenge:
    """What the server keeps between the question and the client's answer.

    Args:
        ask: the question.
        next_filter: the number of the `connect` filter that runs next after a good answer.
        channels: the channels that the client had joined. It becomes a member again when it is admitted.
        diverts: the functions that look at the client's messages once it is admitted.
        timer: refuses the client if no answer arrives in time.
    """

    __slots__ = ("ask", "channels", "diverts", "next_filter", "timer")

    def __init__(
        self, ask: Ask, next_filter: int, channels: tuple[str, ...], diverts: tuple[Divert, ...], timer: Timer
    ) -> None:
        self.ask = ask
        self.next_filter = next_filter
        self.channels = channels
        self.diverts = diverts
        self.timer = timer
