"""A pipeline: an ordered list of filters that runs on one event, compiled to a flat tuple of bound methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import length_hint
from os.path import basename
from types import FrameType, TracebackType
from typing import Any

import msgspec

from fws.pipeline.events import BY_NAME
from fws.pipeline.filter import Filter
from fws.pipeline.outcomes import DROP, Ask, Several
from fws.pipeline.publication import Publication
from fws.pipeline.results import check

Hook = Callable[..., Any]
# Calls told of the way to an error.
LONGEST_TRAIL = 6
# Frames that are named where no filter runs.
TRAIL = 5


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


def culprit(traceback: TracebackType | None) -> str:
    """Which filter an exception came from and the way from there: `module.Class.hook (file.py:3 > file.py:9)`.

    Of a long way both ends are told: a line of the log has room for one line, and the error comes behind.
    Empty when no filter is in the traceback. Of filters in filters (a branch of a `switch`) it is the inner one.
    """
    places = []
    while traceback is not None:
        places.append((traceback.tb_frame, traceback.tb_lineno))
        traceback = traceback.tb_next
    return _culprit(places)


def whereabouts(frame: FrameType | None) -> str:
    """What is running: `message: module.Class.hook (file.py:3 > file.py:9), client ID`.

    Where no filter runs it is the way through fws itself.

    Args:
        frame: the innermost one, as a signal's handler gets it.
    """
    places = []
    while frame is not None:
        places.append((frame, frame.f_lineno))
        frame = frame.f_back
    event = client = ""
    for place, _ in places:
        pipeline = place.f_locals.get("self")
        if isinstance(pipeline, Pipeline):
            event = f"{pipeline.event}: "
            client = getattr(place.f_locals.get("client"), "id", "")
            break
    places.reverse()
    where = _culprit(places) or " > ".join(_place(*place) for place in places[-TRAIL:])
    return f"{event}{where}" + (f", client {client}" if client else "")


def _culprit(places: Iterable[tuple[FrameType, int]]) -> str:
    name = ""
    trail: list[str] = []
    for frame, line in places:
        owner = frame.f_locals.get("self")
        if isinstance(owner, Filter):
            name = f"{type(owner).__module__}.{type(owner).__qualname__}.{frame.f_code.co_name}"
            trail = []
        trail.append(_place(frame, line))
    if len(trail) > LONGEST_TRAIL:
        trail[3:-2] = ["…"]
    return f"{name} ({' > '.join(trail)})" if name else ""


def _place(frame: FrameType, line: int) -> str:
    return f"{basename(frame.f_code.co_filename)}:{line}"
