"""Reads tracebacks and stacks: which filter is running, or which one failed."""

from __future__ import annotations

import traceback as standard
from collections.abc import Iterable
from os.path import basename
from types import FrameType, TracebackType

from fws.pipeline.filter import Filter, module_of
from fws.pipeline.pipeline import Pipeline, Step

# The most calls that are shown between a filter and the error.
LONGEST_TRAIL = 6
# The calls that are shown if no filter is running.
TRAIL = 5
# The most calls of a whole stack.
WHOLE = 40


def culprit(traceback: TracebackType | None) -> str:
    """The filter that an exception came from and the calls from there: `module.Class.hook (file.py:3 > file.py:9)`.

    A long list of calls is shortened in the middle, because it becomes part of one line of the log. Where a filter runs
    inside another one, as in a branch of a `switch`, the inner filter is named.

    Returns:
        Empty if the traceback has no filter.
    """
    places = []
    while traceback is not None:
        places.append((traceback.tb_frame, traceback.tb_lineno))
        traceback = traceback.tb_next
    return _culprit(places)


def step_of(traceback: TracebackType | None) -> Step | None:
    """The stage that an exception came from; None if no pipeline ran a filter.

    Where a filter runs inside another one, this is the stage of the inner filter. If a pipeline has the same filter
    twice, it is the first of the two.
    """
    found, running = None, None
    while traceback is not None:
        owner = traceback.tb_frame.f_locals.get("self")
        if isinstance(owner, Pipeline):
            running = owner
        elif isinstance(owner, Filter) and running is not None:
            found = next((step for step in running.steps if step.instance is owner), None) or next(
                (step for step in running.steps if step.instance is None and step.cls is type(owner)), found
            )
            running = None
        traceback = traceback.tb_next
    return found


def stack_of(traceback: TracebackType | None) -> str:
    """The calls that lead to an exception, with their lines of code and without any value."""
    return "".join(standard.format_tb(traceback, limit=-WHOLE))


def whereabouts(frame: FrameType | None) -> str:
    """What is running: `message: module.Class.hook (file.py:3 > file.py:9), client ID`.

    If no filter is running, these are the innermost calls of fws itself.

    Args:
        frame: the innermost frame, as a signal handler receives it.
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
            name = f"{module_of(type(owner))}.{type(owner).__qualname__}.{frame.f_code.co_name}"
            trail = []
        trail.append(_place(frame, line))
    if len(trail) > LONGEST_TRAIL:
        trail[3:-2] = ["…"]
    return f"{name} ({' > '.join(trail)})" if name else ""


def _place(frame: FrameType, line: int) -> str:
    return f"{basename(frame.f_code.co_filename)}:{line}"
