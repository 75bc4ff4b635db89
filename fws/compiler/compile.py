"""Compiles a configuration to a generation: from the names in stages to the steps of pipelines.

All commands use the same function, so that a file that passes `fws check` also starts. Everything that is wrong is
collected in `Findings` and reported at once.

To follow a file from TOML to a generation, read five modules: `config.loader` (text to tree), `config.reader` (tree to
`Config`), this one (names to steps), `compiler.build` (options to a filter), and `compiler.generation` (the result).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path as FilePath
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

from fws.base.errors import ConfigError
from fws.base.problem import Path, Problem, nearest, suggestion, without
from fws.compiler import checks
from fws.compiler.build import Builder, Built
from fws.compiler.endpoint import Endpoint
from fws.compiler.findings import Findings
from fws.compiler.generation import Generation
from fws.compiler.registry import SOURCES, LookupProblem, Registry
from fws.compiler.secrets import possible_secrets, shown
from fws.config import Config, Document, EndpointTable, Settings, load, place_problems, read
from fws.config.paths import parse_path
from fws.config.schedules import Schedule
from fws.pipeline.component import Setting
from fws.pipeline.events import BY_NAME, CLIENT_EVENTS, SERVER_EVENTS
from fws.pipeline.filter import Filter, hook, hooks_of
from fws.pipeline.options import by_name, options_of
from fws.pipeline.pipeline import Pipeline, Step, StepId
from fws.pipeline.services import Services
from fws.pipeline.source import Source
from fws.pipeline.stage import Stage, StageError, parse_stage
from fws.wire.handshake import parse_origins

# Chains that contain chains can double at each level. A pipeline of this many stages is a mistake.
MAX_STAGES = 1000
MAX_DEPTH = 50


class DefaultLogin(msgspec.Struct, frozen=True):
    """A stage that authenticates clients wherever the file does not.

    Attributes:
        stage: goes in front of each `connect` pipeline without a filter that authenticates.
        source: where the login comes from, for the warning: `--token`.
        authenticates: whether a class of filters authenticates clients.
        accepts: whether such a filter admits clients with the credentials of this login.
    """

    stage: str
    source: str
    authenticates: Callable[[type[Filter]], bool]
    accepts: Callable[[Filter], bool]


def load_generation(
    file: str | FilePath,
    services: Services | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    login: DefaultLogin | None = None,
) -> Generation:
    """Read, check and compile a TOML file.

    Args:
        services: what the server lends to filters; real clocks if None.
        environ: the values of `${NAME}`; the environment of the process if None.
        login: authenticates clients where the file does not.

    Raises:
        ConfigError: has every problem of the file, each with its place.
    """
    return generation_of(load(file), os.environ if environ is None else environ, services, login=login)


def generation_of(
    document: Document,
    environ: Mapping[str, str],
    services: Services | None = None,
    *,
    login: DefaultLogin | None = None,
    registry: Registry | None = None,
    previous: Generation | None = None,
) -> Generation:
    """Check and compile a TOML document. Arguments and errors are those of `load_generation`.

    Args:
        registry: the filters of the project; a new registry if None.
        previous: the generation in force, which stays as it is. The new one shares every filter with it whose place,
            code and options are the same, and every endpoint in which nothing has changed.
    """
    config, problems = read(document, environ)
    if registry is None:
        registry = Registry(project_of(config.folder), previous.registry if previous is not None else None)
    compiler = _Compiler(config, registry, services or Services(), environ, login, previous)
    generation = compiler.generation()
    findings = compiler.findings

    def placed(found: list[Problem]) -> list[Problem]:
        return [without(findings.secrets, problem) for problem in place_problems(found, document.source)]

    if problems or findings.problems:
        if previous is not None:
            registry.forget(previous.registry)
        raise ConfigError(placed([*problems, *findings.problems]))
    generation.warnings = tuple(placed(findings.warnings))
    return generation


def project_of(folder: FilePath) -> FilePath:
    """The project of a configuration: its folder or the parent if that has `pipelines/`, else its folder."""
    folder = folder.resolve()
    for candidate in (folder, folder.parent):
        if (candidate / "pipelines").is_dir():
            return candidate
    return folder


class _Scope(msgspec.Struct, frozen=True):
    """Where a stage runs.

    Attributes:
        endpoint: the path of the endpoint; None for every path that no endpoint claims.
        params: the parameters of that path, which placeholders may use.
        event: None while a chain or filter that no pipeline uses is checked.
    """

    endpoint: str | None
    params: tuple[str, ...]
    event: str | None


class _Compiler:
    """Compiles one configuration."""

    def __init__(
        self,
        config: Config,
        registry: Registry,
        services: Services,
        environ: Mapping[str, str],
        login: DefaultLogin | None,
        previous: Generation | None,
    ) -> None:
        self.findings = Findings()
        self._previous = previous
        self._before: Mapping[Any, Built | None] = previous.built if previous is not None else {}
        self._config = config
        self._registry = registry
        self._services = services
        self._login = login
        self._builder = Builder(services, Setting(config.folder, environ), environ, self.findings)
        # One instance for each distinct stage or table, and endpoint. None if it has problems.
        self._built: dict[tuple[Any, ...], Built | None] = {}
        self._chains: dict[tuple[str, _Scope], list[Step]] = {}
        self._used: set[tuple[str, str]] = set()

    def generation(self) -> Generation:
        config = self._config
        endpoints = [self._shared(self._endpoint(table)) for table in config.endpoints]
        default = self._shared(self._default()) if config.pipelines else None
        pipelines = {
            event: self._pipeline(event, config.pipelines, ("pipelines",), _Scope(None, (), event))
            for event in SERVER_EVENTS
        }
        schedules = {name: self._schedule(name, schedule) for name, schedule in config.schedules.items()}
        everyone = [*endpoints, *([default] if default is not None else [])]
        classes = {built.cls: None for built in self._built.values() if built is not None}
        sources = {name: made for name in config.sources if (made := self._source(name)) is not None}
        compiled = checks.Compiled(
            config,
            self._compile_unused(),
            everyone,
            list(classes),
            [*pipelines.values(), *schedules.values()],
            sources,
        )
        for check in checks.PROBLEMS:
            self.findings.add(check(compiled))
        for check in checks.WARNINGS:
            self.findings.warnings += check(compiled)
        instances = [built.instance for built in self._built.values() if built is not None]
        filters = [instance for instance in instances if isinstance(instance, Filter)]
        return Generation(
            config,
            self._services,
            endpoints,
            default,
            pipelines,
            filters,
            schedules=schedules,
            sources=list(sources.values()),
            registry=self._registry,
            built=self._built,
        )

    def _schedule(self, name: str, schedule: Schedule) -> Pipeline:
        path: Path = ("schedules", name, "run")
        steps = self._steps(schedule.run, path, _Scope(None, (), "tick"), ())
        return Pipeline("tick", [step.inside(name) for step in steps])

    def _source(self, name: str) -> Source | None:
        table, path = self._config.sources[name], ("sources", name)
        if not table:
            return None  # the reader has reported a problem
        try:
            cls = self._registry.find(str(table["use"]), SOURCES).cls
        except LookupProblem as error:
            self.findings.problem(error.message, (*path, "use"), 0, error.hint)
            return None
        key = ("sources", name)
        built = self._builder.from_table(cls, name, table, {}, (), self._before.get(key), "sources")
        self._built[key] = built
        return built.instance if built is not None and isinstance(built.instance, Source) else None

    def _endpoint(self, table: EndpointTable) -> Endpoint:
        params = parse_path(table.path)[0].names
        pipelines = {}
        for event in CLIENT_EVENTS:
            # An endpoint's event replaces the same event of [pipelines]; the others are inherited.
            own = event in table.events
            tables = table.events if own else self._config.pipelines
            where: Path = ("endpoints", table.path) if own else ("pipelines",)
            pipelines[event] = self._pipeline(event, tables, where, _Scope(table.path, params, event))
        return self._with(pipelines, table.path, table.settings, table.bounds)

    def _shared(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint of the generation in force if nothing has changed in it, so that its clients are left alone."""
        if self._previous is not None:
            for other in self._previous.all_endpoints():
                if other.path == endpoint.path and other.same_as(endpoint):
                    return other
        return endpoint

    def _default(self) -> Endpoint:
        config = self._config
        pipelines = {
            event: self._pipeline(event, config.pipelines, ("pipelines",), _Scope(None, (), event))
            for event in CLIENT_EVENTS
        }
        return self._with(pipelines, None, config.server, config.limits)

    @staticmethod
    def _with(pipelines: Mapping[str, Pipeline], path: str | None, settings: Settings, bounds: Any) -> Endpoint:
        origins = parse_origins(checks.valid_origins(settings.origins))
        return Endpoint(path, settings, bounds, origins, pipelines)

    def _pipeline(self, event: str, tables: Mapping[str, list[str]], where: Path, scope: _Scope) -> Pipeline:
        path = (*where, event)
        steps = self._steps(tables.get(event, []), path, scope, ())
        if self._login is not None and event == "connect":
            steps = self._with_login(self._login, steps, path, scope)
        return Pipeline(event, steps)

    def _with_login(self, login: DefaultLogin, steps: list[Step], path: Path, scope: _Scope) -> list[Step]:
        logins = [step for step in steps if login.authenticates(step.cls)]
        if not logins:
            added = self._stage(parse_stage(login.stage), path, scope, ())
            return [step.inside(login.stage) for step in added] + steps
        if not any(step.instance is not None and login.accepts(step.instance) for step in logins):
            at = f"at {scope.endpoint}" if scope.endpoint is not None else "at paths without an endpoint"
            hint = "its connect pipeline asks for tokens of its own"
            self.findings.warnings.append(Problem(f"{login.source} admits nobody {at}", path, hint=hint))
        return steps

    def _steps(self, stages: Sequence[str], path: Path, scope: _Scope, within: tuple[str, ...]) -> list[Step]:
        """The steps of a list of stages, with ids that begin at this list.

        Args:
            within: the chains and tables that contain the list, from the outermost.
        """
        steps: list[Step] = []
        names: Counter[str] = Counter()
        for index, text in enumerate(stages):
            place = (*path, index)
            try:
                stage = parse_stage(text)
            except StageError as error:
                self._hide(text)
                self.findings.mistake(error, place)
                continue
            names[stage.name] += 1
            name = stage.name if names[stage.name] == 1 else f"{stage.name}#{names[stage.name]}"
            steps += [step.inside(name) for step in self._stage(stage, place, scope, within)]
            if len(steps) > MAX_STAGES:
                self.findings.problem(f"a pipeline of more than {MAX_STAGES} stages", place)
                return []
        return steps

    def _stage(self, stage: Stage, path: Path, scope: _Scope, within: tuple[str, ...]) -> list[Step]:
        """The steps of one stage: one for a filter, any number for a chain, none if it has problems."""
        name = stage.name
        if name in self._config.filters:
            self._used.add(("filters", name))
            if not self._takes_none(stage, path, f"write the options of {name} into [filters.{name}]"):
                return []
            # A table with branches has those of each event. Without any, its stages in all events are one filter, like
            # stages of the same text.
            event = scope.event if self._has_branches(name) else None
            key: tuple[Any, ...] = (scope.endpoint, event, "filters", name)
            if key not in self._built:
                self._built[key] = self._from_table(name, scope, within, self._before.get(key))
            return self._step(self._built[key], stage, path, scope)
        if name in self._config.chains:
            self._used.add(("chains", name))
            if not self._takes_none(stage, path, f"{name} is a chain, and chains take no arguments"):
                return []
            return self._chain(name, path, scope, within)
        key = (scope.endpoint, stage.text)
        built = self._built.get(key)
        # A stage with problems is built again wherever it occurs, so that each place is reported.
        if built is None and (cls := self._find(stage, path)) is not None:
            built = self._built[key] = self._builder.from_stage(cls, stage, path, scope.params, self._before.get(key))
        return self._step(built, stage, path, scope)

    def _has_branches(self, name: str) -> bool:
        """Whether the filter of a table runs pipelines of its own."""
        try:
            cls = self._registry.find(str(self._config.filters[name].get("use", ""))).cls
        except LookupProblem:
            return True
        return any(_holds_pipeline(option.type) for option in options_of(cls))

    def _takes_none(self, stage: Stage, path: Path, hint: str) -> bool:
        """Whether a stage has no arguments; else that is a problem."""
        if stage.arguments:
            self._hide(stage.text)
            self.findings.problem(f"{stage.name} takes no arguments here", path, stage.arguments[0].start, hint)
        return not stage.arguments

    def _chain(self, name: str, path: Path, scope: _Scope, within: tuple[str, ...]) -> list[Step]:
        if name in within:
            self.findings.problem(f"the chain {name} contains itself", path, 0, " -> ".join([*within, name]))
            return []
        if len(within) >= MAX_DEPTH:
            self.findings.problem(f"chains are nested more than {MAX_DEPTH} deep", path)
            return []
        # Compiled once for each scope. Otherwise chains that name others twice take twice the time at each level.
        if (name, scope) not in self._chains:
            steps = self._steps(self._config.chains[name], ("chains", name), scope, (*within, name))
            self._chains[name, scope] = steps
        return self._chains[name, scope]

    def _step(self, built: Built | None, stage: Stage, path: Path, scope: _Scope) -> list[Step]:
        """The filter of a stage as a step of its event's pipeline."""
        event = scope.event
        if built is None or event is None:
            return []
        cls, instance = built.cls, built.instance
        hooks = hooks_of(cls)
        if event not in hooks:
            hint = f"it serves {', '.join(hooks)}"
            self.findings.problem(f"{stage.name} does not serve {event}", path, hint=hint)
            return []
        try:
            cls.check_event(event, built.given)
        except ValueError as error:
            self.findings.problem(f"{stage.name}: {error}", path)
            return []
        text, made = shown(stage, cls), StepId(scope.endpoint, event)
        if isinstance(instance, Filter):
            own = hook(instance, event)
            return [Step(own, text, built.options, instance.waits, made, path, cls, instance, None, built.branches)]
        there = {"client", "time"} if BY_NAME[event].of_client else {"time"}
        if missing := sorted(instance.sources - there - set(BY_NAME[event].names)):
            self.findings.problem(f"a placeholder needs a {missing[0]}, and {event} has none", path)
            return []
        # Whether a filter blocks may depend on its options, which are not known yet.
        waits = cls.waits is not False
        free = bool({"message", "call"} & instance.sources_of("channel")) and "allow" not in built.given
        free = free and not cls.asks_rules(built.given)
        own = instance.hook(event)
        return [Step(own, text, built.options, waits, made, path, cls, None, instance, built.branches, free)]

    def _from_table(self, name: str, scope: _Scope, within: tuple[str, ...], before: Built | None) -> Built | None:
        path: Path = ("filters", name)
        if name in within:
            self.findings.problem(f"the filter {name} contains itself", path, 0, " -> ".join([*within, name]))
            return None
        table = self._config.filters[name]
        if not table:
            return None  # the reader has reported a problem
        try:
            cls = self._registry.find(str(table["use"])).cls
        except LookupProblem as error:
            self.findings.problem(error.message, (*path, "use"), 0, error.hint)
            return None
        branches = {
            key: self._branches(option.type, table[key], (key,), name, scope, within)
            for key, option in by_name(options_of(cls)).items()
            if key in table and _holds_pipeline(option.type)
        }
        return self._builder.from_table(cls, name, table, branches, scope.params, before)

    def _branches(self, hint: Any, value: Any, way: Path, name: str, scope: _Scope, within: tuple[str, ...]) -> Any:
        """The value of an option with each list of stages compiled to a pipeline. Anything else is left as it is.

        The ids of a branch begin at the table and not at the stage that uses it: all stages of an event that use the
        table share one instance, and so its branches.

        Args:
            hint: the type of the option, or of the part that `value` is.
            way: the path from the table to `value`.
            name: the table.
        """
        for kind in _members(hint):
            arguments = get_args(kind)
            if kind is Pipeline and isinstance(value, list) and all(isinstance(item, str) for item in value):
                steps = self._steps(value, ("filters", name, *way), scope, (*within, name))
                label = ".".join(map(str, way))
                return Pipeline(scope.event or "message", [step.inside(name, label) for step in steps], inner=True)
            if isinstance(value, dict) and get_origin(kind) is dict:
                items = value.items()
                return {
                    key: self._branches(arguments[1], item, (*way, key), name, scope, within) for key, item in items
                }
            if isinstance(value, list) and get_origin(kind) is list and arguments:
                return [
                    self._branches(arguments[0], item, (*way, index), name, scope, within)
                    for index, item in enumerate(value)
                ]
        return value

    def _find(self, stage: Stage, path: Path) -> type[Filter] | None:
        """The class of the filter that a stage names; else that is a problem."""
        try:
            return self._registry.find(stage.name).cls
        except LookupProblem as error:
            near = nearest(stage.name, [*self._config.filters, *self._config.chains])
            self._hide(stage.text)
            offset = len(stage.text) - len(stage.text.lstrip())
            self.findings.problem(error.message, path, offset, suggestion(near) or error.hint)
            return None

    def _hide(self, text: str) -> None:
        """Keep the words of a stage secret if a filter that it may mean takes secrets."""
        name = (text.split() or [""])[0]
        near = nearest(name, self._config.filters)
        use = self._config.filters[near].get("use", "") if near else ""
        meant = [*self._registry.candidates(name), *self._registry.candidates(str(use))]
        self.findings.secrets |= possible_secrets(text, meant)

    def _compile_unused(self) -> list[tuple[str, str]]:
        """Check chains and filters that no pipeline uses, as far as that is possible without an event.

        Returns:
            Section and name of each.
        """
        unused = []
        for section, names in (("chains", self._config.chains), ("filters", self._config.filters)):
            for name in names:
                if (section, name) not in self._used:
                    unused.append((section, name))
                    self._steps([name], (section, name), _Scope("", (), None), ())
        return unused


def _holds_pipeline(hint: Any) -> bool:
    """Whether a type is a pipeline or holds some: `dict[str, Pipeline]`, `Pipeline | None`."""
    return hint is Pipeline or any(_holds_pipeline(argument) for argument in get_args(hint))


def _members(hint: Any) -> list[Any]:
    """The types of a union, without annotations: `Pipeline` and `None` for `Annotated[Pipeline | None, Help("…")]`."""
    if get_origin(hint) is Annotated:
        return _members(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return [member for argument in get_args(hint) for member in _members(argument)]
    return [hint]
