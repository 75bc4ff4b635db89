"""What a hook can return besides a value that flows on: `DROP`, `Several`, `Later` and `Ask`."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, Final

# The most messages that one message may become, counted over nested lists as well. Each costs about as much as a
# message of its own, and this many block the event loop for 15 to 20 ms.
MAX_PARTS = 1000


class Drop(enum.Enum):
    """The type of `DROP`."""

    DROP = "DROP"


DROP: Final = Drop.DROP
"""Returned by a hook: the pipeline ends here and nothing flows on."""


class Several:
    """Returned by a `message` hook: each item flows on by itself, in order, through the rest of the pipeline.

    Args:
        items: a list whose length the filter has limited.
    """

    __slots__ = ("items",)

    def __init__(self, items: list[Any]) -> None:
        self.items = items


class Later:
    """Returned by a `message` or `tick` hook: nothing flows on now, and messages may flow on later.

    Args:
        begin: called once, with a function that lets one message flow on through the rest of the pipeline. That
            function may be called at any time, any number of times, from any greenlet and from the event loop. It never
            blocks. On `message`, the client serves the message in its turn, after those that it is serving already.
            Nothing happens if the client is gone.
        rest: set by a pipeline inside another one: the filters of the inner one that the messages still pass.
    """

    __slots__ = ("begin", "rest")

    def __init__(self, begin: Callable[[Callable[[Any], None]], object], rest: Any = None) -> None:
        self.begin = begin
        self.rest = rest


class Ask:
    """Returned by a `connect` hook: the client is admitted to send one message, and that message decides.

    Until the message has arrived, nothing else is served or delivered to the client, and its channel memberships are
    inactive. If the answer is accepted, the rest of the `connect` pipeline runs. A `Reject` raised there closes the
    connection with the code 4000 plus the status, so 4401 for 401. A client that leaves before that was never
    connected: its `disconnect` pipeline does not run.

    Args:
        answer: called with the client and its first message. It may block if its filter may. It raises `Reject` to
            refuse the client.
        timeout: seconds that the client has. When they have passed, the connection is closed with 4401.
    """

    __slots__ = ("answer", "timeout")

    def __init__(self, answer: Callable[[Any, Any], object], timeout: float) -> None:
        self.answer = answer
        self.timeout = timeout
