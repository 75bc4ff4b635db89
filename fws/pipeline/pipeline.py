"""A pipeline: an ordered list of filters that runs on one event, compiled to a flat tuple of bound methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import length_hint
from typing import Any

import msgspec

from fws.pipeline.events import BY_NAME
from fws.pipeline.outcomes import DROP, Ask, Several
from fws.pipeline.publication import Publication
from fws.pipeline.results import check

Hook = Callable[..., Any]


class Step(msgspec.Struct, frozen=True):
    """One filter of a pipeline: the bound hook, the stage as written, and the options as they were understood.

    `waits` says whether the filter may wait.
    """

    hook: Hook
    text: str
    options: str
    waits: bool = True


class Pipeline:
    """Runs its filters one after the other. Shared by all clients; holds nothing of any of them.

    A hook that returns None leaves what flows unchanged, and `DROP` ends the pipeline. A value that the event does not
    take raises `HookResultError`, which names that hook. Exceptions pass through: the caller knows what they mean for
    the client.

    Attributes:
        waits: whether one of its filters may wait. One that does not wait runs in the loop's own callback.
    """

    __slots__ = ("_expected", "_hooks", "event", "steps", "waits")

    def __init__(self, event: str, steps: Iterable[Step] = ()) -> None:
        self.event = event
        self.steps = tuple(steps)
        self.waits = any(step.waits for step in self.steps)
        self._hooks: tuple[Hook, ...] = tuple(step.hook for step in self.steps)
        self._expected = BY_NAME[event].results

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def __str__(self) -> str:
        return " | ".join(step.text for step in self.steps)

    def run(self, client: Any, value: Any) -> Any:
        """For `data`, `message` and `deliver`: what is left of `value` at the end, or `DROP`.

        In `message` a filter may return `Several`: then `Several` is left, or `DROP` when nothing is.
        """
        expected = self._expected
        hooks = iter(self._hooks)
        for hook in hooks:
            result = hook(client, value)
            if result is None:
                continue
            if result is DROP:
                return DROP
            kind = type(result)
            if kind not in expected:
                check(self.event, hook, result)
            elif kind is Several:
                return self._run_each(length_hint(hooks), client, result)
            value = result
        return value

    def _run_each(self, count: int, client: Any, several: Several) -> Any:
        """Run the last `count` filters for each item by itself."""
        if not count:
            return several
        rest = Pipeline(self.event, self.steps[len(self.steps) - count :])
        left: list[Any] = []
        for item in several.items:
            client.take_part()
            flowed = rest.run(client, item)
            if type(flowed) is Several:
                left += flowed.items
            elif flowed is not DROP:
                left.append(flowed)
        return Several(left) if left else DROP

    def happen(self, client: Any, first: int = 0) -> tuple[Ask, int] | None:
        """For `connect` and `disconnect`, where nothing flows, from the filter number `first` on.

        Returns:
            What a filter of `connect` asks the client, and the number of the filter after it; None at the end.
        """
        for number, hook in enumerate(self._hooks[first:], first + 1):
            result = hook(client)
            if result is None:
                continue
            if result is DROP:
                break
            if isinstance(result, Ask) and Ask in self._expected:
                return result, number
            check(self.event, hook, result)
        return None

    def publish(self, publication: Publication) -> Any:
        """For `publication`: what is left of it at the end, or `DROP`."""
        for hook in self._hooks:
            result = hook(publication)
            if result is None:
                continue
            if result is DROP:
                return DROP
            if type(result) is not Publication:
                check(self.event, hook, result)
            publication = result
        return publication
