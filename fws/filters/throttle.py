"""`throttle`: let at most one message per time flow on."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Annotated, Any

from msgspec import Meta

from fws import DROP, Client, Duration, Filter, Help, Later, Publication
from fws.filters._kept import Held, Kept, Memory, memory_of
from fws.filters._key import HELP, Key
from fws.filters._refusal import refuse
from fws.pipeline.call import MESSAGE

CLIENT = Key.parse("client")
# Sums of floating-point seconds are not exact to the last digit.
SLACK = 1e-6


class Slot(Held):
    """One key: when the next message may flow on, and the last of those that came too early."""

    __slots__ = ("free_at",)

    def __init__(self, free_at: float) -> None:
        super().__init__()
        self.free_at = free_at


class Throttle(Filter):
    """Let at most one message per time flow on: the first at once, and the last of the others at the end of the time.

    On `message` and `tick`. A message that comes within the time after another one is held back. A later one takes its
    place, and what is there at the end of the time flows on; then the time begins anew. Other messages of the client
    overtake one that is held back. With last=false, messages within the time are dropped. On `publication` and
    `deliver` nothing can be held back, so last=false is needed there.

    A message that lacks a value that `by` names, such as the field, flows on unchanged. The filter is for messages of
    which the newest replaces the others, such as positions. Against clients that send too much there is `rate_limit`.

    At most 10,000 keys are remembered in each process, or 100 for each client if `by` has `client`. Beyond that, what
    is held back for the oldest key flows on, and the key begins anew. All that is held back takes at most about
    `memory`; the newest message is held back even if it is larger. Beyond that, what is held back for the oldest key
    flows on, and its time begins anew. A message of a client that has left does not flow on. In a protocol with calls,
    a call within the time fails with 429. After a reload, messages that are held back flow on in the old pipeline.

    Example:
        message = ["json", "throttle 200ms by=client,message.room", "broadcast"]
    """

    waits = False

    time: Annotated[Annotated[Duration, Meta(gt=0)], Help("Time in which one message flows on.")]
    by: Annotated[Key, Help(HELP)] = CLIENT
    last: Annotated[bool, Help("Whether the last message within the time flows on at its end.")] = True
    memory: Memory = None

    @classmethod
    def check_event(cls, event: str, options: Mapping[str, Any]) -> None:
        if event in ("publication", "deliver") and options.get("last", True) is not False:
            raise ValueError(f"last: on {event} nothing can flow on later: write last=false")
        options.get("by", CLIENT).check_event(event)

    def __post_init__(self) -> None:
        self._memory = memory_of(self.memory, self.by)
        self._kept = Kept[Slot](self.by, evicted=Held.release, left=Held.forget)

    def adopt(self, old: Throttle) -> None:
        """Take over what was held back, so that a reload neither loses it nor lets it be overtaken."""
        if old.by == self.by:
            self._kept = old._kept

    def message(self, client: Client, message: Any) -> Any:
        slot = self._early(client, self.by.of(client, message))
        if slot is not None and client.call is not MESSAGE:
            return refuse(client, "drop", 429, "too fast")
        return self._later(client, slot, message)

    def tick(self, message: Any) -> Any:
        return self._later(None, self._early(None, self.by.of(None, message)), message)

    def publication(self, publication: Publication) -> Any:
        return self.deliver(None, publication)

    def deliver(self, client: Client | None, publication: Publication) -> Any:
        key = self.by.of(client, publication.message, publication.channel)
        # What a client gets and what it sends do not share a time, even if their stages are written alike.
        early = None if key is None else self._early(client, ("deliver", key))
        return None if early is None else DROP

    def explain(self, client: Any, message: Any, channel: str | None) -> str:
        key = self.by.of(client, message, channel)
        slot = self._kept.get(client, key) or self._kept.get(client, ("deliver", key))
        if slot is None:
            return "not throttled"
        return f"the next one in {max(slot.free_at - self.clock(), 0.0):.2g} s"

    def _early(self, client: Client | None, key: Hashable) -> Slot | None:
        """The key's slot if a message comes too early; None if it may flow on, which begins the time."""
        if key is None:
            return None
        now = self.clock()
        slot = self._kept.get(client, key)
        if slot is not None and (slot.holds or slot.free_at > now + SLACK):
            return slot
        self._kept.put(client, key, Slot(now + self.time))
        self._kept.tidy(client, lambda one: one.free_at <= now and not one.holds)
        return None

    def _later(self, client: Client | None, slot: Slot | None, message: Any) -> Any:
        if slot is None:
            return None
        return Later(partial(self._hold, client, slot, message)) if self.last else DROP

    def _hold(self, client: Client | None, slot: Slot, message: Any, flow: Callable[[Any], None]) -> None:
        if not slot.holds:
            slot.cancel = self.after(max(slot.free_at - self.clock(), 0.0), lambda: self._end(slot))
        for other in slot.hold(flow, message, self._kept.room(client), self._memory):
            self._end(other)

    def _end(self, slot: Slot) -> None:
        slot.free_at = self.clock() + self.time
        slot.release()
