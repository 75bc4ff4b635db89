"""How commands show pipelines and problems."""

from __future__ import annotations

from collections.abc import Iterator

from fws.base.errors import ConfigError
from fws.compiler.generation import Generation
from fws.config import ChannelRules
from fws.config.channels import ChannelRule
from fws.config.schedules import Schedule
from fws.pipeline.options import options_of
from fws.pipeline.pipeline import Pipeline


def problems_of(error: ConfigError) -> str:
    """All problems of a file, and their number."""
    number = len(error.problems)
    return f"{error}\n{number} problem{'s' if number != 1 else ''}"


def pipelines_of(generation: Generation, *, options: bool = False) -> str:
    """The pipelines of each path.

    Args:
        options: whether each filter has a line of its own with all its options.
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
    for name, pipeline in generation.schedules.items():
        lines.append(f"  schedule {name}  {_due(generation.config.schedules[name])}")
        lines += _pipeline(pipeline, options)
    return "\n".join(lines)


def _due(schedule: Schedule) -> str:
    """When and where a schedule runs, as in the file."""
    shown = [option for option in options_of(Schedule) if option.name != "run"]
    given = ((option, getattr(schedule, option.field)) for option in shown)
    return " ".join(f"{option.name}={option.text_of(value)}" for option, value in given if value != option.default)


def channels_of(rules: ChannelRules) -> str:
    """What applies to channels, by pattern, the most specific first; empty without settings."""
    lines = []
    for rule in rules.all:
        lines += [f"  channels {rule.pattern.text}", *settings_of(rule)]
    return "\n".join(lines)


def settings_of(rule: ChannelRule) -> list[str]:
    """A line with all settings of a pattern."""
    pairs = ((option, getattr(rule.settings, option.field)) for option in options_of(type(rule.settings)))
    shown = [f"{option.name}={option.text_of(value)}" for option, value in pairs if value is not None]
    return ["    " + " ".join(shown)]


def _pipeline(pipeline: Pipeline, options: bool) -> list[str]:
    if not options:
        return [f"    {pipeline.event:12}{pipeline}"]
    return [f"    {pipeline.event}", *_steps(pipeline, "      ")]


def _steps(pipeline: Pipeline, indent: str) -> Iterator[str]:
    """Each filter, and below it the filters of its branches."""
    for step in pipeline.steps:
        yield indent + step.text
        if step.options:
            yield f"{indent}  {step.options}"
        for label, branch in step.branches:
            yield f"{indent}  {label}"
            yield from _steps(branch, indent + "    ")
