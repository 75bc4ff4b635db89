"""`debounce`: let a message flow on once nothing has followed it for a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any

from msgspec import Meta

from fws import Client, Duration, Filter, Help, Later
from fws.filters._kept import Held, Kept, Memory, memory_of
from fws.filters._key import HELP, Key
from fws.filters._refusal import refuse
from fws.pipeline.call import MESSAGE

CLIENT = Key.parse("client")
# A timer may be early by so many seconds.
SLACK = 0.001


class Slot(Held):
    """One key: its last message, when that flows on, and when it flows on at the latest."""

    __slots__ = ("due", "key", "latest")

    def __init__(self, key: str, due: float, latest: float) -> None:
        super().__init__()
        self.key = key
        self.due = due
        self.latest = latest


class Debounce(Filter):
    """Let a message flow on once nothing has followed it for a time. Of several in a row, only the last flows on.

    On `message` and `tick`. Each message is held back, takes the place of the one before, and begins the time anew.
    Without `most`, a client that never pauses can hold its messages back forever. Other messages of the client overtake
    one that is held back, and messages of different keys flow on in the order in which their times are over.

    A message that lacks a value that `by` names, such as the field, flows on unchanged.

    Messages of at most 10,000 keys are held back in each process, or of 100 for each client if `by` has `client`.
    Together they take at most about `memory`; the newest one is held back even if it is larger. Beyond that, the
    message of the oldest key flows on. A message of a client that has left does not flow on. In a protocol with calls,
    a call fails with 400, because it cannot wait for its answer. After a reload, messages that are held back flow on in
    the old pipeline.

    Example:
        message = ["json", "debounce 300ms by=client,message.field most=2s", "broadcast"]
    """

    waits = False

    time: Annotated[Annotated[Duration, Meta(gt=0)], Help("Time in which no message may follow.")]
    by: Annotated[Key, Help(HELP)] = CLIENT
    most: Annotated[Duration | None, Help("The longest time for which messages in a row are held back.")] = None
    memory: Memory = None

    @classmethod
    def check_event(cls, event: str, options: Mapping[str, Any]) -> None:
        options.get("by", CLIENT).check_event(event)

    def __post_init__(self) -> None:
        if self.most is not None and self.most < self.time:
            raise ValueError("most: it is shorter than the time in which no message may follow")
        self._memory = memory_of(self.memory, self.by)
        self._kept = Kept[Slot](self.by, evicted=Held.release, left=Held.forget)

    def adopt(self, old: Debounce) -> None:
        """Take over what is held back, so that a message that follows a reload still takes the place of the former."""
        if old.by == self.by:
            self._kept = old._kept

    def message(self, client: Client, message: Any) -> Any:
        key = self.by.of(client, message)
        if key is None:
            return None
        if client.call is not MESSAGE:
            return refuse(client, "drop", 400, "messages are held back here, and a call cannot wait")
        return Later(partial(self._hold, client, key, message))

    def tick(self, message: Any) -> Any:
        key = self.by.of(None, message)
        return None if key is None else Later(partial(self._hold, None, key, message))

    def explain(self, client: Any, message: Any, channel: str | None) -> str:
        key = self.by.of(client, message, channel)
        if key is None:
            return "not held back"
        slot = self._kept.get(client, key)
        left = self.time if slot is None else min(self.time, slot.latest - self.clock())
        return f"held back for {left:.2g} s"

    def _hold(self, client: Client | None, key: str, message: Any, flow: Callable[[Any], None]) -> None:
        now = self.clock()
        slot = self._kept.get(client, key)
        if slot is None:
            slot = Slot(key, now + self.time, now + self.most if self.most is not None else float("inf"))
            self._kept.put(client, key, slot)
            self._wait(client, slot)
        else:
            # Its timer goes on and looks again, which costs less than a new timer for each message.
            slot.due = min(now + self.time, slot.latest)
        for other in slot.hold(flow, message, self._kept.room(client), self._memory):
            self._end(client, other)

    def _wait(self, client: Client | None, slot: Slot) -> None:
        slot.cancel = self.after(max(slot.due - self.clock(), 0.0), lambda: self._look(client, slot))

    def _look(self, client: Client | None, slot: Slot) -> None:
        if slot.due > self.clock() + SLACK:
            self._wait(client, slot)
        else:
            self._end(client, slot)

    def _end(self, client: Client | None, slot: Slot) -> None:
        self._kept.remove(client, slot.key)
        slot.release()
