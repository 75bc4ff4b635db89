"""The reference of filters and settings: for a terminal, as Markdown and as JSON.

The reference of a filter is made from its docstring and its fields.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from fws.base.reasons import REASONS
from fws.compiler.registry import SOURCES, Found, Registry
from fws.config.sections import SECTIONS
from fws.metrics.catalogue import CATALOGUE as METRICS
from fws.pipeline.events import TABLE
from fws.pipeline.filter import hooks_of
from fws.pipeline.options import Option, options_of
from fws.pipeline.source import Source

ORIGIN_TITLES = {
    "project": "Filters of this project",
    "fws": "Filters that come with fws",
    "package": "Filters of installed packages",
}

_TAKES = {
    "one": "",
    "many": "Takes all remaining positional arguments.",
    "rest": "Takes the rest of the stage as it is.",
    "named": "Takes every `key=value` whose key is not another option.",
}


class Doc(msgspec.Struct, frozen=True):
    """The parts of a docstring: the first paragraph, the text after it, and the TOML below `Example:`."""

    summary: str
    body: str
    example: str


def doc_of(cls: type) -> Doc:
    """The parts of a class's own docstring; empty if it has none."""
    text = inspect.cleandoc(cls.__doc__ or "")
    text, _, example = text.partition("\nExample:\n")
    summary, _, body = text.partition("\n\n")
    return Doc(" ".join(summary.split()), body.strip(), inspect.cleandoc(example))


def named(founds: Iterable[Found]) -> list[tuple[str, Found]]:
    """Each filter with its name in a stage, which is `origin:name` if two origins have filters of the same name."""
    founds = list(founds)
    names = [found.name for found in founds]
    return [(found.name if names.count(found.name) == 1 else f"{found.origin}:{found.name}", found) for found in founds]


def filter_text(found: Found) -> str:
    """The reference of one filter or source as plain text. Lines are neither shortened nor wrapped."""
    doc, options = doc_of(found.cls), options_of(found.cls)
    parts = [f"{found.name}: {doc.summary}" if doc.summary else found.name]
    parts.append(f"{_serves(found)} Origin: {found.origin}.")
    if doc.body:
        parts.append(doc.body)
    if doc.example:
        parts.append("Example:\n" + _indented(doc.example, 4))
    if options:
        width = max(len(option.name) for option in options) + 2
        lines = []
        for option in options:
            lines.append(f"  {option.name:{width}}{option.kind}{_default_words(option)}")
            if meaning := _meaning(option).replace("`", ""):
                lines.append(_indented(meaning, width + 2))
        parts.append("Options, in the order of a stage's arguments:\n" + "\n".join(lines))
    return "\n\n".join(parts)


def _serves(found: Found, mark: str = "") -> str:
    """What a filter serves, and whether it never blocks. For a `switch` that depends on its branches."""
    if issubclass(found.cls, Source):
        return "A source, for [sources]."
    events = ", ".join(f"{mark}{event}{mark}" for event in hooks_of(found.cls))
    return f"Serves {events}." + (" Never waits." if found.cls.waits is False else "")


def _indented(text: str, width: int) -> str:
    return "\n".join(" " * width + line if line else line for line in text.split("\n"))


def _meaning(option: Option) -> str:
    verbatim = "Placeholders are not filled in." if option.verbatim else ""
    former = f"Formerly {', '.join(f'`{name}`' for name in option.former)}." if option.former else ""
    return " ".join(text for text in (option.help, _TAKES[option.takes], verbatim, former) if text)


def _default_words(option: Option) -> str:
    if option.required:
        return "; required"
    return f"; default {option.default_text}" if option.default_text else ""


def filter_json(found: Found) -> dict[str, Any]:
    """The reference of one filter or source as plain values."""
    doc = doc_of(found.cls)
    return {
        "name": found.name,
        "origin": found.origin,
        "summary": doc.summary,
        "description": doc.body,
        "example": doc.example,
        "events": [] if issubclass(found.cls, Source) else list(hooks_of(found.cls)),
        "waits": issubclass(found.cls, Source) or found.cls.waits is not False,
        "options": [
            {
                "name": option.name,
                "type": option.kind,
                "required": option.required,
                "default": default_of(option),
                "takes": option.takes,
                "help": option.help,
            }
            for option in options_of(found.cls)
        ],
    }


def default_of(option: Option) -> Any:
    """The default as in TOML, so quantities have their unit; None without a default."""
    return msgspec.json.decode(option.default_text) if option.default_text else None


def filter_markdown(found: Found, name: str = "") -> str:
    """The section of one filter or source in the reference page.

    Args:
        name: the heading if it is not the filter's name.
    """
    doc = doc_of(found.cls)
    parts = [
        f"### {name or found.name}",
        doc.summary,
        _serves(found, "`"),
    ]
    parts.append(doc.body)
    if doc.example:
        parts.append(f"```toml\n{doc.example}\n```")
    parts.append(_table([(option, _meaning(option)) for option in options_of(found.cls)]))
    return "\n\n".join(part for part in parts if part)


def _table(rows: Sequence[tuple[Option, str]]) -> str:
    if not rows:
        return ""
    lines = ["| option | type | default | meaning |", "| --- | --- | --- | --- |"]
    for option, meaning in rows:
        default = "required" if option.required else f"`{option.default_text}`" if option.default_text else ""
        cells = (f"`{option.name}`", option.kind, default, meaning)
        lines.append("| " + " | ".join(" ".join(cell.replace("|", r"\|").split()) for cell in cells) + " |")
    return "\n".join(lines)


def reference_markdown(registry: Registry) -> str:
    """The page of all filters, by event and one by one, and of all sources. Without modules that cannot be imported."""
    filters = named(found for found in registry.all() if isinstance(found, Found))
    parts = ["# Filters", "Generated by `fws filters --format markdown` from the filters themselves.", "## By event"]
    lines = ["| event | when | filters |", "| --- | --- | --- |"]
    for event in TABLE:
        links = [f"[{name}](#{_anchor(name)})" for name, found in sorted(filters) if event.name in hooks_of(found.cls)]
        lines.append(f"| `{event.name}` | {event.help} | {', '.join(links)} |")
    parts.append("\n".join(lines))
    for origin, title in ORIGIN_TITLES.items():
        sections = [filter_markdown(found, name) for name, found in filters if found.origin == origin]
        parts += [f"## {title}", *sections] if sections else []
    sources = named(found for found in registry.all(SOURCES) if isinstance(found, Found))
    text = "They bring publications in from elsewhere: [schedules and sources](schedules.md#sources)."
    parts += ["## Sources", text, *(filter_markdown(found, name) for name, found in sources)]
    return "\n\n".join(parts) + "\n"


def _anchor(heading: str) -> str:
    """The anchor that Markdown renderers make from a heading: lower case, without punctuation."""
    return re.sub(r"[^\w-]", "", heading.lower())


def settings_markdown() -> str:
    """The page of all settings that are not options of filters."""
    parts = ["# Settings", "Generated by `fws filters --settings` from the sections themselves."]
    for section in SECTIONS:
        if section.options is None:
            continue
        shared = options_of(section.shared) if section.shared is not None else ()
        own = [option for option in options_of(section.options) if option not in shared]
        parts += [f"## {section.title}", section.help, _indented(section.example, 4), _table(_explained(own))]
        if shared:
            text = f'In `{section.title}` for every path, in `[endpoints."/path"]` for one.'
            parts += [f"## {section.title} and [endpoints.…]", text, _table(_explained(shared))]
    return "\n\n".join(parts) + "\n"


def metrics_markdown() -> str:
    """The page of all metrics."""
    parts = [
        "# Metrics",
        "Generated by `fws filters --metrics` from the catalogues in `fws/base/counters.py` and "
        "`fws/metrics/catalogue.py`.",
        "Prometheus reads the metrics at [`/metrics`](operations.md#metrics) of the `[admin]` listener, where all "
        "workers are one. The log shows what was counted [once a minute](operations.md#what-is-counted), except for "
        "normal traffic; there each process counts for itself, and a label is a part of the name: `refused_403`.",
        "No label has a value that a client chose. A histogram has the buckets 4 µs, 16 µs, 64 µs and so on up to "
        "16.8 s. Counters with a label appear when something was counted.",
    ]
    for title, metrics in METRICS.items():
        lines = ["| metric | type | labels | what it says | in the log |", "| --- | --- | --- | --- | --- |"]
        for metric in metrics:
            labels = ", ".join(f"`{label}`" for label in metric.labels)
            log = f"`{metric.log}`" if metric.log else ""
            lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} | {log} |")
        parts += [f"## {title}", "\n".join(lines)]
        if title == "Connections":
            parts.append(_reasons_markdown())
    return "\n\n".join(parts) + "\n"


def _reasons_markdown() -> str:
    """The values of the label `reason`."""
    words = ", ".join(f"`{word}`" for word in sorted(REASONS))
    return (
        f"The label `reason` is one of {words}. `request` is an invalid request, `path` one for which there is "
        "nothing, `handshake` an invalid handshake, `filter` the decision of a filter that gave no other reason, and "
        "`fault` a filter that failed. [Authentication](authentication.md#counters) explains the reasons of tokens."
    )


def _explained(options: Iterable[Option]) -> list[tuple[Option, str]]:
    return [(option, option.help) for option in options]
