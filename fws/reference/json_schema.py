"""The JSON Schema of the TOML file, with which editors check and complete it."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from fws.base.units import Unit
from fws.compiler.registry import SOURCES, Found, Registry
from fws.config.loader import TESTS
from fws.config.sections import SECTIONS, SHARED, Section
from fws.pipeline.events import BY_NAME, CLIENT_EVENTS, PIPELINES
from fws.pipeline.options import Option, options_of
from fws.pipeline.pipeline import Pipeline
from fws.reference.pages import default_of, doc_of, named

# The names of chains and filters, and quantities. A test compares them with what the reader accepts.
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

    It is as strict about keys as the reader. It does not look inside a stage's string; `fws check` does.
    """
    filters = named(found for found in registry.all() if isinstance(found, Found))
    sources = named(found for found in registry.all(SOURCES) if isinstance(found, Found))
    properties: dict[str, Any] = {}
    for section in SECTIONS:
        *parents, name = section.name.split(".")
        into = properties
        for parent in parents:
            into = into[parent]["properties"]
        into[name] = _section(section, filters, sources)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "fws configuration",
        **_object(properties),
        # A file NAME_test.toml has tests only.
        "anyOf": [{"required": ["pipelines"]}, {"required": ["endpoints"]}, {"required": [TESTS]}],
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


def _section(
    section: Section, filters: Sequence[tuple[str, Found]], sources: Sequence[tuple[str, Found]]
) -> dict[str, Any]:
    """The schema of one section."""
    if section.options is not None:
        options = options_of(section.options)
        required = [option.name for option in options if option.required]
        table = _object(_options(options), "" if section.key or section.many else section.help)
        if required:
            table["required"] = required
        if section.many:
            return {"description": section.help, "type": "array", "items": table}
        return _tables(table, section.help) if section.key else table
    if section.name == "pipelines":
        return _object(_pipelines(PIPELINES), section.help)
    if section.name == "endpoints":
        settings = _options([option for cls in SHARED for option in options_of(cls)])
        table = _object(settings | _pipelines(CLIENT_EVENTS))
        return _object({}, section.help) | {"patternProperties": {"^/": table}}
    if section.name == "sources":
        return {**_tables(_named(sources, "source"), section.help), "propertyNames": {"pattern": _NAME}}
    content = _ref("pipeline") if section.name == "chains" else _named(filters, "filter")
    return {**_tables(content, section.help), "propertyNames": {"pattern": _NAME}}


def _pipelines(events: Sequence[str]) -> dict[str, Any]:
    return {event: _ref("pipeline", BY_NAME[event].help) for event in events}


def _tables(content: dict[str, Any], description: str) -> dict[str, Any]:
    """A table with keys that the user chooses."""
    return {"description": description, "type": "object", "additionalProperties": content}


def _named(founds: Sequence[tuple[str, Found]], what: str) -> dict[str, Any]:
    """`[filters.NAME]` and `[sources.NAME]`, in which `use` decides on the other keys."""
    cases = []
    for name, found in founds:
        use = {"use": {"enum": sorted({name, f"{found.origin}:{found.name}"})}}
        required = [option.name for option in options_of(found.cls) if option.required]
        keys = {"use": True, **_options(options_of(found.cls)), **_former(options_of(found.cls))}
        table = _object(keys, doc_of(found.cls).summary) | ({"required": required} if required else {})
        cases.append({"if": {"properties": use, "required": ["use"]}, "then": table})
    use_name: dict[str, Any] = {
        "description": f"The {what} whose options follow.",
        "anyOf": [{"enum": [name for name, _ in founds]}, {"type": "string", "pattern": "^(project|fws|package):"}],
    }
    return {"type": "object", "properties": {"use": use_name}, "required": ["use"], "allOf": cases}


def _object(properties: dict[str, Any], description: str = "") -> dict[str, Any]:
    """A table that refuses other keys."""
    described = {"description": description} if description else {}
    return {**described, "type": "object", "properties": properties, "additionalProperties": False}


def _options(options: Sequence[Option]) -> dict[str, Any]:
    return {option.name: _option(option) for option in options}


def _former(options: Sequence[Option]) -> dict[str, Any]:
    """Options by their former names."""
    return {name: {**_option(option), "deprecated": True} for option in options for name in option.former}


def _option(option: Option) -> dict[str, Any]:
    schema = _ref("pipeline") if option.stages else _type(option.type)
    if option.help:
        schema = {"description": option.help, **schema}
    default = default_of(option)
    if option.unit is not None:
        schema["examples"] = [option.unit.example]
    return schema if default is None else {**schema, "default": default}


def _ref(name: str, description: str = "") -> dict[str, Any]:
    return {**({"description": description} if description else {}), "$ref": f"#/$defs/{name}"}


def _type(hint: Any) -> dict[str, Any]:
    """The schema of a type. Every type other than text may also be a text that is filled in later."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        unit = next((mark for mark in args[1:] if isinstance(mark, Unit)), None)
        return _type(args[0]) if unit is None else {"anyOf": [_ref(unit.name), _ref("filled")]}
    if origin in (Union, types.UnionType):
        # TOML has no null, so that an optional option is omitted.
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
    # A type of fws with a `parse`, such as a condition, is written as text. Nothing is known about other types.
    return {"type": "string"} if hint is str or callable(getattr(hint, "parse", None)) else {}
