"""How the commands show pipelines and problems."""

from __future__ import annotations

from fws.base.errors import ConfigError
from fws.compiler.generation import Generation
from fws.pipeline.pipeline import Pipeline


def problems_of(error: ConfigError) -> str:
    """All problems of a file, and how many there are."""
    number = len(error.problems)
    return f"{error}\n{number} problem{'s' if number != 1 else ''}"


def pipelines_of(generation: Generation, *, options: bool = False) -> str:
    """The pipelines of each path.

    Args:
        options: each filter on a line of its own, with its options as they were understood.
    """
    blocks = [
        ("every other path" if generation.endpoints else "every path", generation.default),
        *((endpoint.path or "", endpoint) for endpoint in generation.endpoints),
    ]
    lines = []
    for title, endpoint in reversed(blocks):
        if endpoint is None:
            continue
        lines.append(f"  {title}")
        lines += [line for pipeline in endpoint.pipelines() for line in _pipeline(pipeline, options)]
    if generation.publication:
        lines.append("  all channels")
        lines += _pipeline(generation.publication, options)
    return "\n".join(lines)


def _pipeline(pipeline: Pipeline, options: bool) -> list[str]:
    if not options:
        return [f"    {pipeline.event:12}{pipeline}"]
    lines = [f"    {pipeline.event}"]
    for step in pipeline.steps:
        lines.append(f"      {step.text}")
        if step.options:
            lines.append(f"        {step.options}")
    return lines
