"""Reads a configuration: checks the tree of a TOML file against `SECTIONS`, and makes a `Config` of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path as FilePath
from typing import Any, TypeVar

import msgspec

from fws.base.problem import Path, Problem, did_you_mean, dotted
from fws.base.tree import map_leaves
from fws.base.variables import VariableError, fill_variables
from fws.config.api import Admin, Api, ApiKey
from fws.config.api import problems_of as problems_of_api
from fws.config.channels import Channel, ChannelPattern, ChannelRules, info_names
from fws.config.limits import Bounds, Limits
from fws.config.loader import TESTS, Document
from fws.config.paths import parse_path
from fws.config.schedules import Schedule
from fws.config.sections import (
    BY_NAME,
    SECTIONS,
    SHARED,
    Redis,
    Section,
    Server,
    Settings,
    Tls,
    section_with,
)
from fws.config.source import Source
from fws.config.tests import Transcript, read_tests
from fws.config.traces import Traces
from fws.pipeline.events import CLIENT_EVENTS, CLIENT_NAMES, EVENTS, PIPELINES, SERVER_EVENTS
from fws.pipeline.options import Option, options_of

_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")

_Struct = TypeVar("_Struct", bound=msgspec.Struct)
_STAGES = 'a list of stages, each a string, such as ["json", "echo"]'


class EndpointTable(msgspec.Struct, frozen=True):
    """One `[endpoints."…"]`: its path as written, the settings that apply to it, and its own events."""

    path: str
    settings: Settings
    bounds: Bounds
    events: dict[str, list[str]]


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A checked file, with one attribute for each section.

    Stages and the tables of `[filters]` are as written: the compiler fills in their variables.

    Attributes:
        folder: the file's folder, to which paths in the file are relative.
        filters, sources: the raw tables. Each has `use`, a string; an invalid table is empty.
    """

    file: str
    folder: FilePath
    source: Source
    server: Server
    tls: Tls | None
    limits: Limits
    redis: Redis
    pipelines: dict[str, list[str]]
    endpoints: list[EndpointTable]
    chains: dict[str, list[str]]
    filters: dict[str, dict[str, Any]]
    channels: ChannelRules
    schedules: dict[str, Schedule]
    sources: dict[str, dict[str, Any]]
    admin: Admin
    api: Api | None
    api_keys: dict[str, ApiKey]
    traces: Traces | None
    tests: list[Transcript]


def read(document: Document, environ: Mapping[str, str]) -> tuple[Config, list[Problem]]:
    """Check a file's tree and make a configuration of it.

    Args:
        environ: the values of `${NAME}`.

    Returns:
        The configuration and every problem found. The configuration has the valid part of the file, so that its stages
        can be checked in the same run. An invalid chain or filter keeps its name, so that stages that use it do not
        become problems as well.
    """
    reader = _Reader(environ)
    return reader.config(document), reader.problems


class _Reader:
    """Reads one tree and collects its problems in `problems`."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self._environ = environ
        # The options of [server] and its like, by the section's name. Endpoints inherit from them.
        self._values: dict[str, dict[str, Any]] = {}

    def config(self, document: Document) -> Config:
        tree = document.tree
        self._unknown_sections(tree)
        fields = {section.field: self._section(section, tree) for section in SECTIONS if not section.many}
        fields["channels"] = self._rules(fields["channels"])
        fields["tests"], problems = read_tests(tree.get(TESTS, []), document.source)
        self.problems += problems
        self._check_proxy_protocol()
        self._check_api(fields)
        for name, schedule in fields["schedules"].items():
            self._check_schedule(name, schedule)
        for name in fields["filters"].keys() & fields["chains"].keys():
            hint = "a stage could mean either of them: rename one"
            self._problem(f"there is also a chain {name!r}", ("filters", name), hint=hint, key=True)
        if not self.problems and not fields["pipelines"] and not fields["endpoints"]:
            hint = 'write a section [pipelines] with a line such as message = ["echo"]'
            self._problem("neither [pipelines] nor [endpoints]: the server would refuse every client", (), hint=hint)
        file = document.source.file
        return Config(file=file, folder=FilePath(file).parent, source=document.source, **fields)

    def _problem(
        self, message: str, path: Path, offset: int = 0, hint: str = "", *, key: bool = False, hidden: bool = False
    ) -> None:
        self.problems.append(Problem(message, path, offset, hint, key=key, hidden=hidden))

    def _section(self, section: Section, tree: dict[str, Any]) -> Any:
        """What `Config` holds of one section."""
        path = tuple(section.name.split("."))
        table = self._table(section, tree, path)
        if section.options is None:
            return _READERS[section.name](self, table or {})
        if section.key:
            found = {
                name: self._made(section.options, entry, (*path, name))
                for name, entry in self._tables(table or {}, section.name)
            }
            return {name: made for name, made in found.items() if made is not None}
        if table is None and section.optional:
            return None
        return self._made(section.options, table or {}, path)

    def _made(self, cls: type[msgspec.Struct], table: dict[str, Any], path: Path) -> Any:
        """The options of one table; None if one that is required has no valid value."""
        values = self._values[".".join(map(str, path))] = self._options(cls, table, path)
        required = [option for option in options_of(cls) if option.required]
        for option in required:
            if option.name not in table:
                self._problem(f"[{dotted(path)}] has no {option.name!r}", path, hint=option.help, key=True)
        return cls(**values) if all(option.name in values for option in required) else None

    def _table(self, section: Section, tree: dict[str, Any], path: Path) -> dict[str, Any] | None:
        """The raw table of a section; None if the file has none."""
        value: Any = tree
        for name in path:
            # A parent that is not a table is a problem of the parent's own section.
            value = value.get(name) if isinstance(value, dict) else None
        if value is None or isinstance(value, dict):
            return value
        self._problem("expected a section", path, hint=f"write {section.title} and its keys below", key=True)
        return None

    def _unknown_sections(self, tree: dict[str, Any]) -> None:
        known = [name for name in BY_NAME if "." not in name]
        for name, value in tree.items():
            if name in known:
                continue
            what = "section" if isinstance(value, dict) else "key"
            hint = did_you_mean(name, known)
            if name in EVENTS:
                hint = f"write it below [pipelines], or [pipelines] {name} = […]"
            elif section := section_with(name):
                hint = f"write it below [{section}]"
            self._problem(f"unknown {what} {name!r}", (name,), hint=hint, key=True)

    def _check_proxy_protocol(self) -> None:
        server = self._values["server"]
        if server.get("proxy_protocol") and not server.get("trusted_proxies"):
            message = "proxy_protocol needs trusted_proxies: without them no connection may begin with a PROXY header"
            hint = 'name the proxies, such as trusted_proxies = ["10.0.0.0/8"]'
            self._problem(message, ("server", "proxy_protocol"), hint=hint)

    def _check_api(self, fields: Mapping[str, Any]) -> None:
        # Another mistake in these sections can be the reason for what would be found here.
        if not any(problem.path[:1] in (("admin",), ("api",)) for problem in self.problems):
            listen = fields["server"].listen
            self.problems += problems_of_api(fields["api"], fields["api_keys"], fields["admin"], listen)

    def _tables(self, section: dict[str, Any], name: str) -> list[tuple[str, dict[str, Any]]]:
        """The tables of a section that holds nothing else."""
        tables = []
        for key, table in section.items():
            if isinstance(table, dict):
                tables.append((key, table))
            else:
                hint = f"write [{dotted((name, key))}] and its keys below"
                self._problem("expected a table", (name, key), hint=hint, key=True)
        return tables

    def _options(self, cls: type[msgspec.Struct], table: dict[str, Any], path: Path) -> dict[str, Any]:
        """The valid values of a table whose keys are the options of `cls`."""
        known = {option.name: option for option in options_of(cls)}
        values: dict[str, Any] = {}
        for key, value in table.items():
            if dotted((*path, key)) in BY_NAME:
                continue  # a section of its own, such as [server.tls]
            if key not in known:
                self._unknown_key(key, known, path)
            else:
                self._option(known[key], value, (*path, key), values)
        return values

    def _unknown_key(self, key: str, known: Iterable[str], path: Path) -> None:
        section = section_with(key)
        hint = f"write it below [{section}]" if section else did_you_mean(key, known)
        self._problem(f"unknown key {key!r}", (*path, key), hint=hint, key=True)

    def _option(self, option: Option, value: Any, path: Path, values: dict[str, Any]) -> None:
        """Convert one value and put it into `values` if it is valid."""
        before = len(self.problems)
        filled = value if option.stages else map_leaves(value, self._filled, path)
        if len(self.problems) > before:
            return
        try:
            values[option.name] = option.convert(filled, _parse)
        except ValueError as error:
            self._problem(str(error), path, hint=option.help, hidden=option.secret)

    def _filled(self, value: Any, path: Path) -> Any:
        """A string with its variables filled in; any other value as it is."""
        if not isinstance(value, str):
            return value
        try:
            return fill_variables(value, self._environ)
        except VariableError as error:
            self._problem(str(error), path, error.offset, error.hint)
            return value

    def _rules(self, channels: dict[str, Channel]) -> ChannelRules:
        """The rules for channels. Invalid patterns, and patterns of which neither is more specific, are problems."""
        for text, settings in channels.items():
            try:
                pattern = ChannelPattern.parse(text)
            except ValueError as error:
                self._problem(str(error), ("channels", text), key=True)
            else:
                self._check_channel(pattern, settings)
        rules = ChannelRules(channels)
        order = list(channels)
        for one, other in rules.conflicts():
            first, second = sorted((one.pattern.text, other.pattern.text), key=order.index)
            message = f'some names match this and "{first}", and neither is more specific'
            hint = "give one of the two more literal characters"
            self._problem(message, ("channels", second), hint=hint, key=True)
        return rules

    def _check_channel(self, pattern: ChannelPattern, settings: Channel) -> None:
        path = ("channels", pattern.text)
        names = info_names(settings.presence_info)
        for index, term in enumerate(settings.presence_info):
            try:
                term.check_names(CLIENT_NAMES, "for presence_info")
            except ValueError as error:
                self._problem(str(error), (*path, "presence_info", index))
            if names[index] in names[:index]:
                self._problem(f"two values are called {names[index]!r}", (*path, "presence_info", index))
        there = (*CLIENT_NAMES, "channel", *pattern.names)
        for key, condition, further in (
            ("subscribe", settings.subscribe, ()),
            ("publish", settings.publish, ("message",)),
        ):
            try:
                if condition is not None:
                    condition.check_names((*there, *further), "here")
            except ValueError as error:
                self._problem(str(error), (*path, key))
        given = [name for name in ("presence_info", "announce", "linger") if getattr(settings, name)]
        if settings.subscribe_patterns and settings.subscribe is None:
            hint = "write the condition under which a client may subscribe"
            self._problem("subscribe_patterns needs subscribe", (*path, "subscribe_patterns"), hint=hint, key=True)
        elif settings.subscribe_patterns and settings.subscribe is not None:
            for name in sorted(settings.subscribe.names & {"channel", *pattern.names}):
                hint = "a pattern stands for many channels: decide by the client alone"
                self._problem(
                    f"with subscribe_patterns, the condition cannot use {name!r}", (*path, "subscribe"), hint=hint
                )
        if given and not settings.presence:
            hint = "write presence = true as well"
            self._problem(f"{given[0]} has no effect without presence", (*path, given[0]), hint=hint, key=True)

    def _pipelines(self, table: dict[str, Any]) -> dict[str, list[str]]:
        pipelines = {}
        for event, value in table.items():
            if event in PIPELINES:
                pipelines[event] = self._stages(value, ("pipelines", event))
            elif event in EVENTS:
                message = f"{event} is not an event of clients or channels"
                hint = "write the stages as run = […] of a schedule, below [schedules.NAME]"
                self._problem(message, ("pipelines", event), hint=hint, key=True)
            else:
                section = section_with(event)
                hint = f"write it below [{section}]" if section else did_you_mean(event, PIPELINES)
                self._problem(f"unknown event {event!r}", ("pipelines", event), hint=hint, key=True)
        return pipelines

    def _stages(self, value: Any, path: Path) -> list[str]:
        """The list of stages, up to the first that is not a string."""
        if not isinstance(value, list):
            self._problem(f"expected {_STAGES}", path)
            return []
        sound = len(value)
        for index, stage in enumerate(value):
            if not isinstance(stage, str):
                hint = "write the table as [filters.NAME], and NAME in the list" if isinstance(stage, dict) else ""
                self._problem("expected a stage, which is a string", (*path, index), hint=hint)
                sound = min(sound, index)
            elif not stage.strip():
                self._problem("an empty stage", (*path, index), hint="write a filter's name, such as 'echo'")
        return value[:sound]

    def _endpoints(self, tables: dict[str, Any]) -> list[EndpointTable]:
        endpoints = []
        shapes: dict[tuple[str | int, ...], str] = {}
        settings = {option.name: option for cls in SHARED for option in options_of(cls)}
        for path, table in self._tables(tables, "endpoints"):
            where: Path = ("endpoints", path)
            self._check_path(path, where, shapes)
            own: dict[str, Any] = {}
            events = {}
            for key, value in table.items():
                if key in settings:
                    self._option(settings[key], value, (*where, key), own)
                elif key in SERVER_EVENTS:
                    message = f"{key} runs once per process, not per endpoint"
                    self._problem(message, (*where, key), hint="write it below [pipelines]", key=True)
                elif key in CLIENT_EVENTS:
                    events[key] = self._stages(value, (*where, key))
                elif (section := section_with(key)) and BY_NAME[section].shared is not None:
                    message = f"{key} is a setting of the whole server"
                    self._problem(message, (*where, key), hint=f"write it below [{section}]", key=True)
                else:
                    self._unknown_key(key, [*CLIENT_EVENTS, *settings], where)
            shared = _chosen(Settings, self._values["server"], own)
            bounds = _chosen(Bounds, self._values["limits"], own)
            # Also with an invalid path, so that the problems of its stages are found too.
            endpoints.append(EndpointTable(path, shared, bounds, events))
        return endpoints

    def _check_path(self, path: str, where: Path, shapes: dict[tuple[str | int, ...], str]) -> None:
        """Check that requests can have this path, and that no other endpoint has it.

        Args:
            shapes: the paths so far, by what they match.
        """
        pattern, problems = parse_path(path)
        for message, hint in problems:
            self._problem(message, where, hint=hint, key=True)
        other = shapes.setdefault(pattern.shape, path)
        if other != path:
            self._problem(f'this matches the same requests as "{other}"', where, hint="keep one of the two", key=True)

    def _chains(self, section: dict[str, Any]) -> dict[str, list[str]]:
        chains = {}
        for name, value in section.items():
            self._check_name(name, ("chains", name))
            chains[name] = self._stages(value, ("chains", name))
        return chains

    def _filters(self, section: dict[str, Any]) -> dict[str, dict[str, Any]]:
        return self._users(section, "filters", "filter", "switch")

    def _sources(self, section: dict[str, Any]) -> dict[str, dict[str, Any]]:
        return self._users(section, "sources", "source", "stream")

    def _users(self, section: dict[str, Any], title: str, what: str, example: str) -> dict[str, dict[str, Any]]:
        """The tables of a section in which `use` names what a table configures."""
        users: dict[str, dict[str, Any]] = {name: {} for name in section}
        for name, table in self._tables(section, title):
            path: Path = (title, name)
            self._check_name(name, path)
            if "use" not in table:
                hint = f'name the {what} that it configures: use = "{example}"'
                self._problem(f"[{title}.{name}] has no 'use'", path, hint=hint, key=True)
            elif not isinstance(table["use"], str) or not table["use"].strip():
                self._problem(f"expected a {what}'s name, in quotes", (*path, "use"))
            else:
                users[name] = table
        return users

    def _check_schedule(self, name: str, schedule: Schedule) -> None:
        path: Path = ("schedules", name)
        self._check_name(name, path)
        given = self._values[dotted(path)]
        hint = 'write every = "30s", or cron = "*/5 * * * *"'
        if schedule.every is None and not schedule.cron and not self._has_problem_at((*path, "every"), (*path, "cron")):
            self._problem(f"[schedules.{name}] is never due", path, hint=hint, key=True)
        elif schedule.every is not None and schedule.cron:
            self._problem(f"[schedules.{name}] has both every and cron", (*path, "cron"), hint=hint, key=True)
        elif not schedule.cron and "timezone" in given:
            self._problem("timezone is for cron only: `every` counts in UTC", (*path, "timezone"), key=True)
        if not schedule.run:
            self._problem("no stages: nothing would happen", (*path, "run"), hint=f"write {_STAGES[2:]}")

    def _has_problem_at(self, *paths: Path) -> bool:
        return any(problem.path in paths for problem in self.problems)

    def _check_name(self, name: str, path: Path) -> None:
        if not _NAME.match(name):
            hint = "a name begins with a letter and has only a-z, 0-9 and _"
            self._problem(f"{name!r} cannot be used as a stage", path, hint=hint, key=True)


def _parse(kind: Any, value: Any) -> Any:
    """Make a type of fws, such as a condition, from a text."""
    return kind.parse(value)


def _chosen(cls: type[_Struct], inherited: Mapping[str, Any], own: Mapping[str, Any]) -> _Struct:
    """An instance of `cls` with an endpoint's own values, and the inherited ones for the other options."""
    names = cls.__struct_fields__
    return cls(**{name: value for name, value in {**inherited, **own}.items() if name in names})


# Sections whose keys are events, paths or names.
_READERS = {
    "pipelines": _Reader._pipelines,
    "endpoints": _Reader._endpoints,
    "chains": _Reader._chains,
    "filters": _Reader._filters,
    "sources": _Reader._sources,
}
