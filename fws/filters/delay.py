"""`delay`: let each message flow on after a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from msgspec import Meta

from fws import DROP, Client, Duration, Filter, Help, Later, Size
from fws.filters._kept import MEMORY_OF_CLIENT, size_of
from fws.filters._refusal import Refusing, refuse
from fws.pipeline.call import MESSAGE

# A timer may be early by so many seconds.
SLACK = 0.001


class Row:
    """The messages of one client that wait, the oldest first.

    Attributes:
        waiting: when each is due, what lets it flow on, the message, and its size.
        taken: the bytes of all of them.
        cancel: cancels the timer of the oldest.
    """

    __slots__ = ("cancel", "taken", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[tuple[float, Callable[[Any], None], Any, int]] = deque()
        self.taken = 0
        self.cancel: Callable[[], None] = lambda: None

    def forget(self) -> None:
        """The client has left."""
        self.cancel()
        self.waiting.clear()
        self.taken = 0


class Delay(Filter):
    """Let each message flow on after a time, in order. Meanwhile nobody waits: further messages are served.

    On `message` and `tick`. At most `most` messages of a client wait, which together take at most about `memory`, and
    as many of all schedules that use the stage. If none waits, one may be larger. Depending on `on_excess`, a further
    message is dropped, or dropped and answered with `{"error": "…"}`, or it closes the connection with 1008. On `tick`
    it is dropped.

    Messages of a client that has left do not flow on. In a protocol with calls, a call fails with 400, because it
    cannot wait for its answer. After a reload, messages that wait flow on in the old pipeline, at the time that was
    theirs; those that come later do not overtake them.

    Example:
        message = ["delay 2s most=20 on_excess=reply", "broadcast"]
    """

    waits = False

    time: Annotated[Annotated[Duration, Meta(gt=0)], Help("Time after which a message flows on.")]
    most: Annotated[int, Meta(ge=1), Help("The most messages of a client that wait.")] = 100
    memory: Annotated[Size, Meta(ge=1), Help("About the most bytes of messages of a client that wait.")] = (
        MEMORY_OF_CLIENT
    )
    on_excess: Annotated[Refusing, Help("How to treat a message beyond them.")] = "drop"

    def __post_init__(self) -> None:
        # The messages of ticks. It is also the key in the state of clients, which nothing else can name.
        self._row = Row()

    def adopt(self, old: Delay) -> None:
        """Let messages wait behind those that wait already, whatever the time is now."""
        self._row = old._row

    def message(self, client: Client, message: Any) -> Any:
        if client.call is not MESSAGE:
            return refuse(client, "drop", 400, "messages are delayed here, and a call cannot wait")
        row = self._of(client)
        size = size_of(message, self.memory)
        if not self._has_room(row, size):
            return refuse(client, self.on_excess, 429, "too many messages wait")
        return Later(partial(self._add, row, message, size))

    def tick(self, message: Any) -> Any:
        size = size_of(message, self.memory)
        return Later(partial(self._add, self._row, message, size)) if self._has_room(self._row, size) else DROP

    def explain(self, client: Any, message: Any, channel: str | None) -> str:
        row = self._row if client is None else self._of(client)
        return f"{len(row.waiting)} wait before it"

    def _of(self, client: Client) -> Row:
        state: dict[Any, Any] = client.state
        row: Row | None = state.get(self._row)
        if row is None:
            row = state[self._row] = Row()
            client.defer(row.forget)
        return row

    def _has_room(self, row: Row, size: int) -> bool:
        """Whether a message may wait. Counts one that may not."""
        waiting = len(row.waiting)
        fits = not waiting or (waiting < self.most and row.taken + size <= self.memory)
        if not fits:
            self.services.metrics.count("delays_over_limit")
        return fits

    def _add(self, row: Row, message: Any, size: int, flow: Callable[[Any], None]) -> None:
        due = self.clock() + self.time
        if row.waiting:
            due = max(due, row.waiting[-1][0])
        row.waiting.append((due, flow, message, size))
        row.taken += size
        if len(row.waiting) == 1:
            self._wait(row)

    def _wait(self, row: Row) -> None:
        """Look again when the oldest message is due."""
        row.cancel = self.after(max(row.waiting[0][0] - self.clock(), 0.0), lambda: self._look(row))

    def _look(self, row: Row) -> None:
        due = self.clock() + SLACK
        while row.waiting and row.waiting[0][0] <= due:
            _, flow, message, size = row.waiting.popleft()
            row.taken -= size
            flow(message)
        if row.waiting:
            self._wait(row)
