"""`once`: let only the first of several events flow on."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Annotated, Any

from msgspec import Meta

from fws import DROP, Client, Duration, Filter, Help, Publication
from fws.filters._kept import Kept
from fws.filters._key import HELP, Key
from fws.filters._refusal import refuse

CLIENT = Key.parse("client")


class Once(Filter):
    """Let the first event flow on, and end the pipeline for the following ones.

    On `connect`, `message`, `publication`, `deliver` and `tick`, each by itself. With `within`, an event flows on again
    when so much time has passed since the last one that flowed on. On `connect`, the end of the pipeline does not
    refuse the client. An event that lacks a value that `by` names, such as a message without the field, flows on.

    `once` remembers in its process what it has seen, and forgets it when the process ends. `dedupe` remembers ids in
    the storage, so that of several messages with the same id one flows on among all nodes.

    At most 10,000 keys are remembered in each process, or 100 for each client if `by` has `client`; what belongs to a
    client is forgotten when the client leaves. Beyond that, the key that was remembered first is forgotten. In a
    protocol with calls, a call that does not flow on fails with 429.

    Example:
        connect = ["once by=address within=1h", "reply \\"Welcome! Say /help to begin.\\""]
        deliver = ["once by=client,message.id"]
    """

    skips = True
    waits = False

    by: Annotated[Key, Help(HELP)] = CLIENT
    within: Annotated[
        Annotated[Duration, Meta(gt=0)] | None, Help("Time for which an event is remembered; without it, forever.")
    ] = None

    @classmethod
    def check_event(cls, event: str, options: Mapping[str, Any]) -> None:
        options.get("by", CLIENT).check_event(event)

    def __post_init__(self) -> None:
        # Until when each key is remembered.
        self._kept = Kept[float](self.by)

    def adopt(self, old: Once) -> None:
        """Remember what the former filter of the stage has seen."""
        if old.by == self.by:
            self._kept = old._kept

    def connect(self, client: Client) -> Any:
        return None if self._is_first("connect", client, None) else DROP

    def message(self, client: Client, message: Any) -> Any:
        return None if self._is_first("message", client, message) else refuse(client, "drop", 429, "only once")

    def publication(self, publication: Publication) -> Any:
        first = self._is_first("publication", None, publication.message, publication.channel)
        return None if first else DROP

    def deliver(self, client: Client, publication: Publication) -> Any:
        first = self._is_first("deliver", client, publication.message, publication.channel)
        return None if first else DROP

    def tick(self, message: Any) -> Any:
        return None if self._is_first("tick", None, message) else DROP

    def _is_first(self, event: str, client: Client | None, message: Any, channel: str | None = None) -> bool:
        named = self.by.of(client, message, channel)
        if named is None:
            return True
        # Stages of several events that are written alike are one filter.
        key, now = (event, named), self.clock()
        until = self._kept.get(client, key)
        if until is not None and until > now:
            return False
        self._kept.put(client, key, inf if self.within is None else now + self.within)
        self._kept.tidy(client, lambda until: until <= now)
        return True
