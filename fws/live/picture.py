"""Every pipeline of a generation with all its stages in order, each with what was measured there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from fws.compiler.generation import Generation
from fws.pipeline.events import SERVER_EVENTS
from fws.pipeline.labels import branch_name
from fws.pipeline.pipeline import Pipeline, Step

_NUMBERS = ("rate", "drop", "error", "close", "refuse", "p50", "p99")
_NOTHING = dict.fromkeys(_NUMBERS, 0.0)


def picture(
    generation: Generation, rows: Iterable[Mapping[str, Any]], place: Callable[[Step], str]
) -> list[dict[str, Any]]:
    """The pipelines, with zeros for stages that nothing has reached.

    Args:
        rows: the stages of `fws.live.table.merged`.
        place: where a step is in the file.
    """
    measured = {(row["path"], row["stage"]): row for row in rows}

    def stages(pipeline: Pipeline, within: str) -> list[dict[str, Any]]:
        return [stage(step, within) for step in pipeline.steps]

    def stage(step: Step, within: str) -> dict[str, Any]:
        row = measured.get((step.id.path, step.id.way), _NOTHING)
        return {
            "stage": step.id.way,
            "text": step.text,
            "chain": "/".join(_inside(step.id.stage[:-1], within)),
            "place": place(step),
            **{name: float(row[name]) for name in _NUMBERS},
            "branches": [{"label": branch_name(label), "stages": stages(one, label)} for label, one in step.branches],
        }

    return [
        {"title": title, "path": path, "event": pipeline.event, "stages": stages(pipeline, within)}
        for title, path, pipeline, within in _titled(generation)
    ]


def _inside(way: tuple[str, ...], within: str) -> tuple[str, ...]:
    """The end of a way, after the name of the branch or schedule that it leads through; all of it without one."""
    return way[len(way) - way[::-1].index(within) :] if within in way else way


def _titled(generation: Generation) -> Iterator[tuple[str, str, Pipeline, str]]:
    """Each pipeline with what it is called, the path of its addresses, and its schedule or nothing."""
    for endpoint in generation.endpoints:
        for pipeline in endpoint.pipelines():
            yield endpoint.path or "", endpoint.path or "*", pipeline, ""
    if generation.default is not None:
        title = "every other path" if generation.endpoints else "every path"
        for pipeline in generation.default.pipelines():
            yield title, "*", pipeline, ""
    for event in SERVER_EVENTS:
        if pipeline := getattr(generation, event):
            yield "all channels", "*", pipeline, ""
    for name, pipeline in generation.schedules.items():
        yield f"schedule {name}", "*", pipeline, name
