"""Views of what filters and sections declare: for a terminal, as Markdown, as JSON, and as JSON Schema for editors.

Nothing is written twice: a filter's docstring and fields are its reference.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from fws.base.units import Unit
from fws.compiler.registry import Found, Registry
from fws.config.limits import Bounds, Limits
from fws.config.schema import Channel, Redis, Server, Settings, Tls
from fws.pipeline.events import BY_NAME, CLIENT_EVENTS, EVENTS
from fws.pipeline.filter import hooks_of
from fws.pipeline.options import Option, options_of
from fws.pipeline.pipeline import Pipeline

ORIGIN_TITLES = {
    "project": "Filters of this project",
    "fws": "Filters that come with fws",
    "package": "Filters of installed packages",
}

_TAKES = {
    "one": "",
    "many": "Takes all positional arguments that are left.",
    "rest": "Takes the rest of the stage as it stands.",
    "named": "Takes every `key=value` whose key is no other option.",
}


class Doc(msgspec.Struct, frozen=True):
    """A docstring: the first paragraph, what follows it, and the TOML under `Example:`."""

    summary: str
    body: str
    example: str


def doc_of(cls: type) -> Doc:
    """The parts of a class's own docstring; empty ones where there is none."""
    text = inspect.cleandoc(cls.__doc__ or "")
    text, _, example = text.partition("\nExample:\n")
    summary, _, body = text.partition("\n\n")
    return Doc(" ".join(summary.split()), body.strip(), inspect.cleandoc(example))


def named(founds: Iterable[Found]) -> list[tuple[str, Found]]:
    """Each filter with the name that a stage calls it by: `origin:name` where two origins have the same."""
    founds = list(founds)
    names = [found.name for found in founds]
    return [(found.name if names.count(found.name) == 1 else f"{found.origin}:{found.name}", found) for found in founds]


def filter_text(found: Found) -> str:
    """The reference of one filter in plain lines, none of them cut or wrapped."""
    doc, options = doc_of(found.cls), options_of(found.cls)
    parts = [f"{found.name}: {doc.summary}" if doc.summary else found.name]
    parts.append(f"Serves {', '.join(hooks_of(found.cls))}.{_promise(found)} Origin: {found.origin}.")
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


def _promise(found: Found) -> str:
    """Of a `switch` or `when` the branches decide."""
    return " Never waits." if found.cls.waits is False else ""


def _indented(text: str, width: int) -> str:
    return "\n".join(" " * width + line if line else line for line in text.split("\n"))


def _meaning(option: Option) -> str:
    return " ".join(text for text in (option.help, _TAKES[option.takes]) if text)


def _default_words(option: Option) -> str:
    if option.required:
        return "; required"
    return f"; default {option.default_text}" if option.default_text else ""


def filter_json(found: Found) -> dict[str, Any]:
    """The reference of one filter as plain values."""
    doc = doc_of(found.cls)
    return {
        "name": found.name,
        "origin": found.origin,
        "summary": doc.summary,
        "description": doc.body,
        "example": doc.example,
        "events": list(hooks_of(found.cls)),
        "waits": found.cls.waits is not False,
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
    """The default as TOML holds it, so quantities with their unit; None for none."""
    return msgspec.json.decode(option.default_text) if option.default_text else None


def filter_markdown(found: Found, name: str = "") -> str:
    """The section of one filter in the reference page.

    Args:
        name: the heading, when it is not the filter's name.
    """
    doc = doc_of(found.cls)
    parts = [
        f"### {name or found.name}",
        doc.summary,
        f"Serves {', '.join(f'`{e}`' for e in hooks_of(found.cls))}.{_promise(found)}",
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
    """The page of all filters within reach: by event, then one by one. Modules that do not import are left out."""
    filters = named(found for found in registry.all() if isinstance(found, Found))
    parts = ["# Filters", "Generated by `fws filters --format markdown` from the filters themselves.", "## By event"]
    lines = ["| event | when | filters |", "| --- | --- | --- |"]
    for event in EVENTS:
        links = [f"[{name}](#{_anchor(name)})" for name, found in sorted(filters) if event in hooks_of(found.cls)]
        lines.append(f"| `{event}` | {BY_NAME[event].help} | {', '.join(links)} |")
    parts.append("\n".join(lines))
    for origin, title in ORIGIN_TITLES.items():
        sections = [filter_markdown(found, name) for name, found in filters if found.origin == origin]
        parts += [f"## {title}", *sections] if sections else []
    return "\n\n".join(parts) + "\n"


def _anchor(heading: str) -> str:
    """What the usual renderers make of a heading: lower case, without punctuation."""
    return re.sub(r"[^\w-]", "", heading.lower())


def settings_markdown() -> str:
    """The page of all settings that are no filter's options."""
    sections: list[tuple[str, str, Sequence[Option]]] = [
        ("[server]", "Where the process listens, and what is in front of it.", _own(Server, Settings)),
        (
            "[server] and [endpoints.…]",
            'In `[server]` for every path, in `[endpoints."/path"]` for one.',
            options_of(Settings),
        ),
        (
            "[limits]",
            "For each process. None can be switched off by zero: a limit is a number. Brackets name who has such a "
            "default; one without them is our own.",
            _own(Limits, Bounds),
        ),
        (
            "[limits] and [endpoints.…]",
            'In `[limits]` for every path, in `[endpoints."/path"]` for one.',
            options_of(Bounds),
        ),
        ("[server.tls]", "Certificate and key; without this section there is no TLS.", options_of(Tls)),
        ("[redis]", "What several processes share.", options_of(Redis)),
        ('[channels."pattern"]', "Settings of the channels that a pattern matches.", options_of(Channel)),
    ]
    parts = ["# Settings", "Generated by `fws filters --settings` from the sections themselves."]
    for title, text, options in sections:
        parts += [f"## {title}", text, _table([(option, option.help) for option in options])]
    return "\n\n".join(parts) + "\n"


def _own(cls: type, shared: type) -> list[Option]:
    """The options of a section that no endpoint has."""
    names = {option.name for option in options_of(shared)}
    return [option for option in options_of(cls) if option.name not in names]


# The names of chains and filters, and quantities, as the loader reads them; a test compares the two.
_NAME = "^[a-z][a-z0-9_]*$"
_PATTERNS = {
    "duration": r"\d+(\.\d+)?\s*(ms|s|m|min|h|d)",
    "size": r"\d+(\.\d+)?\s*(B|KiB|MiB|GiB|kB|KB|MB|GB)",
    "rate": r"\d+(\.\d+)?\s*/\s*(ms|s|m|min|h|d)",
}
_SCALARS: dict[Any, dict[str, Any]] = {
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
}


def json_schema(registry: Registry) -> dict[str, Any]:
    """JSON Schema (2020-12) of the TOML file, for editors: sections, settings, and the options of each filter.

    It is as strict about keys as the loader. What stands inside a stage's string it cannot see: `fws check` does.
    """
    filters = named(found for found in registry.all() if isinstance(found, Found))
    events = {event: _ref("pipeline", BY_NAME[event].help) for event in EVENTS}
    endpoint = _options([*options_of(Settings), *options_of(Bounds)]) | {
        event: schema for event, schema in events.items() if event in CLIENT_EVENTS
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "fws configuration",
        **_object(
            {
                "server": _object(
                    {**_options(options_of(Server)), "tls": _required(Tls, "Certificate and key of TLS.")},
                    "The process, and the settings of every path.",
                ),
                "limits": _object(_options(options_of(Limits)), "How much of what there may be."),
                "redis": _object(_options(options_of(Redis)), "What several processes share."),
                "channels": {
                    "description": "Settings of channels, by pattern.",
                    "type": "object",
                    "additionalProperties": _object(_options(options_of(Channel))),
                },
                "pipelines": _object(events, "The pipelines of every path that no endpoint claims."),
                "endpoints": _object({}, "Paths with pipelines and settings of their own.")
                | {"patternProperties": {"^/": _object(endpoint)}},
                "chains": {
                    "description": "Lists of stages, used by their name as if they were filters.",
                    "type": "object",
                    "propertyNames": {"pattern": _NAME},
                    "additionalProperties": _ref("pipeline"),
                },
                "filters": {
                    "description": "Named filters: options too long for one line.",
                    "type": "object",
                    "propertyNames": {"pattern": _NAME},
                    "additionalProperties": _named_filter(filters),
                },
            }
        ),
        "anyOf": [{"required": ["pipelines"]}, {"required": ["endpoints"]}],
        "$defs": {
            "pipeline": {"type": "array", "items": _ref("stage")},
            "stage": {
                "description": "A filter's name, then its arguments.",
                "type": "string",
                "pattern": r"\S",
                "examples": [name for name, _ in filters],
            },
            "filled": {
                "description": "${NAME} of the environment; in a filter's option also a {placeholder}.",
                "type": "string",
                "pattern": r"\{.+\}",
            },
            **{name: {"type": "string", "pattern": f"^\\s*{pattern}\\s*$"} for name, pattern in _PATTERNS.items()},
        },
    }


def _named_filter(filters: Sequence[tuple[str, Found]]) -> dict[str, Any]:
    """`[filters.NAME]`: `use` decides which other keys there are."""
    cases = []
    for name, found in filters:
        use = {"use": {"enum": sorted({name, f"{found.origin}:{found.name}"})}}
        required = [option.name for option in options_of(found.cls) if option.required]
        keys = {"use": True, **_options(options_of(found.cls))}
        table = _object(keys, doc_of(found.cls).summary) | ({"required": required} if required else {})
        cases.append({"if": {"properties": use, "required": ["use"]}, "then": table})
    filter_name: dict[str, Any] = {
        "description": "The filter whose options stand here.",
        "anyOf": [{"enum": [name for name, _ in filters]}, {"type": "string", "pattern": "^(project|fws|package):"}],
    }
    return {"type": "object", "properties": {"use": filter_name}, "required": ["use"], "allOf": cases}


def _object(properties: dict[str, Any], description: str = "") -> dict[str, Any]:
    """A table that refuses other keys."""
    described = {"description": description} if description else {}
    return {**described, "type": "object", "properties": properties, "additionalProperties": False}


def _required(cls: type, description: str) -> dict[str, Any]:
    """A table some of whose keys must be there."""
    options = options_of(cls)
    return {**_object(_options(options), description), "required": [o.name for o in options if o.required]}


def _options(options: Sequence[Option]) -> dict[str, Any]:
    return {option.name: _option(option) for option in options}


def _option(option: Option) -> dict[str, Any]:
    schema = _type(option.type)
    if option.help:
        schema = {"description": option.help, **schema}
    default = default_of(option)
    if option.unit is not None:
        schema["examples"] = [option.unit.example]
    return schema if default is None else {**schema, "default": default}


def _ref(name: str, description: str = "") -> dict[str, Any]:
    return {**({"description": description} if description else {}), "$ref": f"#/$defs/{name}"}


def _type(hint: Any) -> dict[str, Any]:
    """The schema of a type. Whatever is no text may also be a text with something to fill in."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        unit = next((mark for mark in args[1:] if isinstance(mark, Unit)), None)
        return _type(args[0]) if unit is None else {"anyOf": [_ref(unit.name), _ref("filled")]}
    if origin in (Union, types.UnionType):
        # TOML has no null: an option that may be nothing is left out.
        members = [_type(arg) for arg in args if arg is not type(None)]
        return members[0] if len(members) == 1 else {"anyOf": members}
    if origin is Literal:
        return {"anyOf": [{"enum": list(args)}, _ref("filled")]}
    if origin in (list, tuple):
        return {"type": "array", "items": _type(args[0])} if args else {"type": "array"}
    if origin is dict:
        return {"type": "object", "additionalProperties": _type(args[1])}
    if hint is Pipeline:
        return _ref("pipeline")
    if hint in _SCALARS:
        return {"anyOf": [_SCALARS[hint], _ref("filled")]}
    # A type of fws with a `parse`, such as a condition, is written as text; anything else may be anything.
    return {"type": "string"} if hint is str or callable(getattr(hint, "parse", None)) else {}
