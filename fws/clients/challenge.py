"""The challenge: a client that a `connect` filter asks something, and whose first message decides (`fws.Ask`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fws.base.timers import Timer
from fws.pipeline.outcomes import Ask

Divert = Callable[[Any, Any], bool]


class Challenge:
    """What is kept of a client between the question and the answer.

    Args:
        ask: the question.
        next_filter: the number of the filter of `connect` to go on with after a good answer.
        channels: what the client had joined. Its memberships rest until it is admitted.
        diverts: what looks at the client's messages once it is admitted.
        timer: ends the wait.
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
