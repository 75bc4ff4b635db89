"""`cache`: remember what a branch makes of messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from gevent.event import Event
from msgspec import Meta

from fws import DROP, Client, Duration, Filter, Help, Size
from fws.filters._key import Key
from fws.filters._results import Results, frozen, thawed
from fws.pipeline.component import Setting
from fws.pipeline.condition import Condition
from fws.pipeline.events import CLIENT_NAMES
from fws.pipeline.pipeline import Pipeline, Step


class Flight:
    """The branch runs for a key, and others may wait for its result."""

    __slots__ = ("data", "landed")

    def __init__(self) -> None:
        self.landed = Event()
        self.data: bytes | None = None


class Cache(Filter):
    """Remember what the stages of a branch make of a message, and give later messages with the same key this result.

    On `message`. The result flows on, as in `switch`. If several messages with one key come while the branch runs, the
    others wait for its result. A result is remembered in each process for the time of `expire`. It is not remembered if
    the branch drops the message, fails or ends the connection: then the next message, and each that waited, runs the
    branch. A message that lacks a value that `by` names runs it as well. What the branch does besides, such as replying
    or joining, happens only when it runs. At most `most` results are remembered, and `memory` bytes of them. Beyond
    that, the one that was not used for the longest time is forgotten.

    Whoever sends the same key gets the same result, whoever caused it. So nothing in the result may depend on the
    client, unless `by` has `client` or `user`. Nor may it depend on a field of the message that is not in `by`: reduce
    the message with `pick` at the beginning of the branch, or use by=message, the whole message. A branch whose
    placeholders or conditions ask about the client is a problem of the file, unless `by` names something of the client.
    What a filter of your own or a service does is not known: `http` says who asks, and the service must not answer
    accordingly. A stage with on_failure=pass is a problem as well, because the unchanged message would be remembered.

    Example:
        message = ["json", "best"]

        [filters.best]
        use = "cache"
        expire = "10s"
        by = "message.player"
        run = ["pick player", "load scores into=best field=player"]
    """

    expire: Annotated[Annotated[Duration, Meta(gt=0)], Help("Time for which a result is remembered.")]
    by: Annotated[Key, Help("What the result depends on: message.q, message, or several such as user,message.q.")]
    run: Annotated[Pipeline, Help("The stages whose result is remembered.")]
    most: Annotated[int, Meta(ge=1), Help("The most results that are remembered.")] = 1000
    memory: Annotated[Size, Help("The most bytes that results take together.")] = 8 * 1024 * 1024

    @property
    def waits(self) -> bool:  # type: ignore[override]
        """Whether the branch may block, and others wait for it."""
        return self.run.waits

    @classmethod
    def check_event(cls, event: str, options: Mapping[str, Any]) -> None:
        options["by"].check_event(event)

    def __post_init__(self) -> None:
        self._results = Results(self.most, self.memory)
        self._flights: dict[str, Flight] = {}
        self._last = ""

    def prepare(self, setting: Setting) -> None:
        for step in self.run.walk():
            if getattr(step.instance, "on_failure", "") == "pass":
                raise ValueError(
                    f"run: {step.text} lets a message pass when it fails, and that would be remembered: write "
                    "on_failure=drop"
                )
            asked = "" if self.by.of_client else _asked_of_client(step)
            if asked:
                raise ValueError(
                    f"run: {step.text} depends on the client ({asked}), but all clients with the same {self.by} get "
                    f"the same result: name that in by, such as by=user,{self.by}, or put the stage outside of run"
                )

    def adopt(self, old: Cache) -> None:
        """Keep what is remembered, if it was made by the same stages for the same keys."""
        if old.by == self.by and old.run == self.run:
            self._results.adopt(old._results)

    def message(self, client: Client, message: Any) -> Any:
        key = self.by.of(client, message)
        if key is None:
            self._last = "without a key"
            return self.run.run(client, message)
        data = self._results.get(key, self.clock())
        if data is None and (flight := self._flights.get(key)) is not None:
            flight.landed.wait()
            data = flight.data
            if data is None:
                self._last = "it waited, and then the branch ran"
                return self.run.run(client, message)
        if data is None:
            return self._fly(key, client, message)
        self.services.metrics.count("cache_hits")
        self._last = "remembered"
        return thawed(data)

    def explain(self, client: Any, message: Any, channel: str | None) -> str:
        return self._last

    def _fly(self, key: str, client: Client, message: Any) -> Any:
        """Run the branch, and remember its result."""
        self.services.metrics.count("cache_misses")
        flight = self._flights[key] = Flight()
        try:
            result = self.run.run(client, message)
            if result is not DROP:
                flight.data = frozen(result)
        finally:
            # Also if the branch fails, or the client's greenlet ends.
            del self._flights[key]
            flight.landed.set()
        if flight.data is not None:
            self._results.put(key, flight.data, self.clock() + self.expire)
        self._last = "the branch ran"
        return result


def _asked_of_client(step: Step) -> str:
    """What a stage asks about the client, as far as that can be known; empty for nothing."""
    sources: set[str] = getattr(step.templated, "sources", set())
    if sources - {"message"}:
        return "a placeholder"
    values = (getattr(step.instance, name, None) for name in step.cls.__struct_fields__)
    names = {name for one in values if isinstance(one, Condition) for name in one.names}
    return ", ".join(sorted(names & {*CLIENT_NAMES, "call"}))
