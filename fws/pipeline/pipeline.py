"""A pipeline: an ordered list of filters that runs on one event, compiled to a flat tuple of bound methods."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from operator import length_hint
from typing import Any, Protocol

import msgspec

from fws.base.problem import Path
from fws.pipeline.events import BY_NAME
from fws.pipeline.filter import Filter
from fws.pipeline.observation import Observer, observed
from fws.pipeline.outcomes import DROP, Ask, Later, Several
from fws.pipeline.placeholder import Flow
from fws.pipeline.publication import Publication
from fws.pipeline.results import check
from fws.pipeline.tally import StageCounts, Tally

Hook = Callable[..., Any]
_PLAIN = re.compile(r"[^\s\"]+")


class StepId(msgspec.Struct, frozen=True):
    """Identifies one step of a configuration: `/chat/{room} message guard/rate_limit`.

    The three parts are the endpoint, the event, and the way to the stage through names:

    * `json` is a stage of the event's own list. `json#2` is the second stage of that name in the same list.
    * `guard/json` is the stage `json` of the chain `guard`. `guard#2/json` is the same stage where the list uses the
      chain a second time.
    * `by_type/case.chat/broadcast` is a stage in a branch of the table `[filters.by_type]`. Such a way begins at the
      table, even if a chain uses it, because all stages of an endpoint's event that use a table share its branches.
    * `*` stands for every path that no endpoint claims, and for events without a client.
    * A part that contains white space or quotes is written as a JSON string.

    An id does not contain positions and arguments. Two compilations of a file give the same ids, and an id stays the
    same when other stages, chains or endpoints are edited, added, removed or moved. Only a stage of the same name
    earlier in the same list changes it.
    """

    endpoint: str | None = None
    event: str = ""
    stage: tuple[str, ...] = ()

    def __str__(self) -> str:
        way = "/".join(map(_word, self.stage))
        return f"{'*' if self.endpoint is None else _word(self.endpoint)} {self.event} {way}"

    @property
    def path(self) -> str:
        """The endpoint for people to read: `*` where there is none."""
        return self.endpoint or "*"

    @property
    def way(self) -> str:
        """The event and the way to the stage: `message/guard/rate_limit`."""
        return "/".join((self.event, *self.stage))

    @property
    def address(self) -> str:
        """The address of the stage, as patterns and reports have it: `/chat message/guard/rate_limit`."""
        return f"{self.path} {self.way}"


def _word(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else msgspec.json.encode(text).decode()


class Maker(Protocol):
    """Makes the instances of a filter with placeholders (`fws.pipeline.templated`)."""

    def instance(self, flow: Flow) -> Filter:
        """The instance for the values that placeholders have."""


class Ticker(Protocol):
    """What runs a pipeline of `tick`."""

    def take_part(self) -> None:
        """Count one of the messages that the present one becomes."""

    def resume(self, rest: Pipeline) -> Callable[[Any], None]:
        """A function that lets a message flow through the rest of a pipeline, in its turn. It never blocks."""


class Step(msgspec.Struct, frozen=True):
    """One filter of a pipeline.

    Attributes:
        hook: the bound method.
        text: the stage as written, without its secrets.
        options: all options as they were understood.
        waits: whether the filter may block.
        id: the same in each compilation of the file.
        path: where the stage is in the TOML tree; a stage of a chain is in the chain.
        cls: the class of the filter.
        instance: the filter; None if it has placeholders, and so one instance for each set of their values.
        templated: makes the instances of a filter with placeholders; None if it has none.
        open_channel: whether a message names the channel, and no option says who may use it.
        branches: the pipelines that the filter runs itself, by label, such as `case.chat` of a `switch`.
    """

    hook: Hook
    text: str
    options: str
    waits: bool = True
    id: StepId = StepId()
    path: Path = ()
    cls: type[Filter] = Filter
    instance: Filter | None = None
    templated: Maker | None = None
    branches: tuple[tuple[str, Pipeline], ...] = ()
    open_channel: bool = False

    def explain(self, arguments: tuple[Any, ...]) -> str:
        """What the filter says about its decision on an event with these arguments; empty if it says nothing."""
        event = self.id.event
        client = arguments[0] if BY_NAME[event].of_client else None
        value = arguments[-1] if len(arguments) > (client is not None) else None
        if BY_NAME[event].of_channel:
            channel, message = value, None
        else:
            channel = value.channel if isinstance(value, Publication) else None
            message = value.message if isinstance(value, Publication) else value
        try:
            flow = Flow(client, message, channel)
            instance = self.instance if self.templated is None else self.templated.instance(flow)
            return "" if instance is None else instance.explain(client, message, channel)
        except Exception:  # an explanation must not change what is explained
            return ""

    def inside(self, *names: str) -> Step:
        """The same step further down: `names` go in front of the way in its id."""
        way = (*names, *self.id.stage)
        return msgspec.structs.replace(self, id=msgspec.structs.replace(self.id, stage=way))


class Pipeline:
    """Runs its filters one after the other. All clients share it, and it holds no data of any client.

    A hook that returns None leaves what flows unchanged, and `DROP` ends the pipeline. A value that the event does not
    take raises `HookResultError`, which names that hook. Exceptions pass through: the caller knows what they mean for
    the client.

    Attributes:
        steps: its own steps; `walk` also gives those of branches.
        inner: whether a filter of another pipeline runs it, and returns what is left of it.
        waits: whether one of its filters may block. A pipeline that never blocks runs in the event loop's callback.
        tally: the counts of its own steps.
    """

    __slots__ = ("__weakref__", "_expected", "_hooks", "_whole", "event", "inner", "steps", "tally", "waits")

    def __init__(
        self, event: str, steps: Iterable[Step] = (), *, inner: bool = False, tally: Tally | None = None
    ) -> None:
        self.event = event
        self.inner = inner
        self.steps = tuple(steps)
        self.tally = Tally(len(self.steps)) if tally is None else tally
        self.waits = any(step.waits for step in self.steps)
        self._hooks: tuple[Hook, ...] = tuple(step.hook for step in self.steps)
        self._expected = BY_NAME[event].results
        # The pipeline that this one is the rest of. While that lives, a reload does not stop its filters.
        self._whole: Pipeline | None = None

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def __eq__(self, other: object) -> bool:
        """Whether two pipelines run the same hooks of the same filter instances."""
        return isinstance(other, Pipeline) and self.event == other.event and self.steps == other.steps

    def __hash__(self) -> int:
        return hash((self.event, len(self.steps)))

    def __str__(self) -> str:
        return " | ".join(step.text for step in self.steps)

    def walk(self) -> Iterator[Step]:
        """All steps in order. The steps of a filter's branches follow that filter."""
        for step in self.steps:
            yield step
            for _, branch in step.branches:
                yield from branch.walk()

    def observe(self, observer: Observer | None) -> None:
        """Tell an observer about each call of a hook from the next event on; None ends the observation.

        An event in progress is not affected. The pipelines of branches are observed as well.
        """
        if observer is None:
            self._hooks = tuple(step.hook for step in self.steps)
        else:
            self._hooks = tuple(observed(step, step.hook, observer) for step in self.steps)
        for step in self.steps:
            for _, branch in step.branches:
                branch.observe(observer)

    def counts(self) -> Iterator[tuple[StepId, StageCounts]]:
        """A copy of the counts of each step. Those of branches are not among them."""
        return zip((step.id for step in self.steps), self.tally.counts(), strict=True)

    # `run`, `tick`, `happen` and `publish` repeat one loop with small differences: to share it would cost a call for
    # each filter. The iterator of hooks knows how many are left, so that the loop needs no counter.

    def run(self, client: Any, value: Any) -> Any:
        """For `data`, `message` and `deliver`: what is left of `value` at the end, or `DROP`.

        In `message` a filter may return `Several`: then `Several` is left, or `DROP` when nothing is. It may also
        return `Later`: then `DROP` is left, and of an inner pipeline `Later`.
        """
        tally, expected = self.tally, self._expected
        tally.left = left = tally.left - 1
        hooks = iter(self._hooks) if left else tally.measured(self._hooks)
        try:
            for hook in hooks:
                result = hook(client, value)
                if result is None:
                    continue
                if result is DROP:
                    tally.dropped(length_hint(hooks))
                    return DROP
                kind = type(result)
                if kind not in expected:
                    self._check(hooks, result)
                elif kind is Several or kind is Later:
                    break
                value = result
            else:
                return value
        except BaseException as error:
            tally.raised(length_hint(hooks), error)
            raise
        return self._split(length_hint(hooks), client, result)

    def tick(self, ticker: Ticker, value: Any) -> Any:
        """For `tick`: what is left of `value` at the end, or `DROP`."""
        tally = self.tally
        tally.left = left = tally.left - 1
        hooks = iter(self._hooks) if left else tally.measured(self._hooks)
        try:
            for hook in hooks:
                result = hook(value)
                if result is None:
                    continue
                if result is DROP:
                    tally.dropped(length_hint(hooks))
                    return DROP
                kind = type(result)
                if kind not in self._expected:
                    self._check(hooks, result)
                elif kind is Several or kind is Later:
                    break
                value = result
            else:
                return value
        except BaseException as error:
            tally.raised(length_hint(hooks), error)
            raise
        return self._split(length_hint(hooks), ticker, result)

    def _check(self, hooks: Iterator[Hook], result: Any) -> None:
        """Look at an unusual result of the last hook that was taken from `hooks`. Raises HookResultError."""
        check(self.event, self.steps[len(self.steps) - length_hint(hooks) - 1].hook, result)

    def _split(self, count: int, flow: Any, result: Several | Later) -> Any:
        """Run the last `count` filters for each of several messages by itself, or for messages that come later.

        Args:
            flow: the client, or the ticker on `tick`.
        """
        self.tally.split(count)
        rest = self._rest(count)
        if isinstance(result, Later):
            return self._later(rest, flow, result)
        if not count and Later not in map(type, result.items):
            return result
        run = rest.tick if self.event == "tick" else rest.run
        left: list[Any] = []
        for item in result.items:
            flow.take_part()
            # An inner pipeline can leave messages for later among the others.
            flowed = self._later(rest, flow, item) if type(item) is Later else run(flow, item)
            if type(flowed) is Several:
                left += flowed.items
            elif flowed is not DROP:
                left.append(flowed)
        return Several(left) if left else DROP

    def _rest(self, count: int) -> Pipeline:
        """The last `count` filters as a pipeline."""
        tally, hooks = self.tally.rest(count, self._hooks[len(self._hooks) - count :])
        rest = Pipeline(self.event, self.steps[len(self.steps) - count :], inner=self.inner, tally=tally)
        rest._hooks = hooks
        rest._whole = self
        return rest

    def _later(self, rest: Pipeline, flow: Any, later: Later) -> Any:
        """Let messages flow through the rest later: that of the inner pipeline which they come from, then our own."""
        if later.rest is not None:
            tally = later.rest.tally.joined(rest.tally)
            joined = Pipeline(self.event, (*later.rest.steps, *rest.steps), inner=self.inner, tally=tally)
            joined._hooks = (*later.rest._hooks, *rest._hooks)
            joined._whole = self
            rest = joined
        if self.inner:
            return Later(later.begin, rest)
        later.begin(flow.resume(rest))
        return DROP

    def happen(self, client: Any, first: int = 0, *more: Any) -> tuple[Ask, int] | None:
        """For events of a client in which nothing flows, from the filter number `first` on.

        Args:
            more: the channel, on `subscribe` and `unsubscribe`.

        Returns:
            What a filter of `connect` asks the client, and the number of the filter after it; None at the end.
        """
        tally = self.tally
        if first:
            tally.enter(first)
            hooks = iter(self._hooks[first:])
        else:
            tally.left = left = tally.left - 1
            hooks = iter(self._hooks) if left else tally.measured(self._hooks)
        try:
            for hook in hooks:
                result = hook(client, *more)
                if result is None:
                    continue
                if result is DROP:
                    tally.dropped(length_hint(hooks))
                    break
                if isinstance(result, Ask) and Ask in self._expected:
                    left = length_hint(hooks)
                    tally.split(left)
                    return result, len(self.steps) - left
                self._check(hooks, result)
        except BaseException as error:
            tally.raised(length_hint(hooks), error)
            raise
        return None

    def publish(self, publication: Publication) -> Any:
        """For `publication`: what is left of it at the end, or `DROP`."""
        tally = self.tally
        tally.left = left = tally.left - 1
        hooks = iter(self._hooks) if left else tally.measured(self._hooks)
        try:
            for hook in hooks:
                result = hook(publication)
                if result is None:
                    continue
                if result is DROP:
                    tally.dropped(length_hint(hooks))
                    return DROP
                if type(result) is not Publication:
                    self._check(hooks, result)
                publication = result
        except BaseException as error:
            tally.raised(length_hint(hooks), error)
            raise
        return publication
