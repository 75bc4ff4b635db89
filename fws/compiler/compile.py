"""Compiles a configuration to a generation. `fws run` and `fws check` do it by the same function.

Each stage becomes one filter instance, and every problem is collected on the way, so that what passes the
check starts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, NamedTuple, get_args

import msgspec

from fws.auth.login import Login
from fws.base.errors import ConfigError
from fws.base.problem import Path, Problem, did_you_mean, without
from fws.base.variables import VARIABLE
from fws.compiler.endpoint import Endpoint
from fws.compiler.generation import Generation
from fws.compiler.registry import LookupProblem, Registry
from fws.config import Config, Document, EndpointTable, Settings, load, place_problems, read
from fws.config.paths import parse_path
from fws.pipeline.events import CLIENT_EVENTS
from fws.pipeline.filter import Filter, Services, Setting, hook, hooks_of
from fws.pipeline.options import HIDDEN, Option, options_of
from fws.pipeline.pipeline import Pipeline, Step
from fws.pipeline.placeholder import CLIENT_ATTRIBUTES, Placeholder, Template, parse_value
from fws.pipeline.stage import Argument, Stage, StageError, bind, parse_stage
from fws.pipeline.templated import Templated, templates_in
from fws.wire.handshake import Origins, parse_origins

# A pipeline is written by hand. Chains in chains can double at each level; this many stages is a mistake.
MAX_STAGES = 1000
MAX_DEPTH = 50
# What asks for a token where the command line says so and the file does not.
TOKEN_STAGE = "fws:token"


def load_generation(
    file: str | FilePath,
    services: Services | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    token: bool = False,
) -> Generation:
    """Read, check and compile a TOML file.

    Args:
        services: what filters get from the server; real clocks when None.
        environ: where `${NAME}` comes from; the process's environment when None.
        token: whether clients need a token everywhere: where no stage asks for one, the one of FWS_TOKEN.

    Raises:
        ConfigError: with every problem found, each with its place.
    """
    return generation_of(load(file), os.environ if environ is None else environ, services, token=token)


def generation_of(
    document: Document, environ: Mapping[str, str], services: Services | None = None, *, token: bool = False
) -> Generation:
    """Check and compile a TOML document. Arguments and errors are those of `load_generation`."""
    config, problems = read(document, environ)
    compiler = Compiler(config, Registry(project_of(config.folder)), services or Services(), environ, token=token)
    generation = compiler.generation()
    problems += compiler.problems
    if problems:
        raise ConfigError([without(compiler.secrets, one) for one in place_problems(problems, document.source)])
    return generation


def project_of(folder: FilePath) -> FilePath:
    """The project a configuration belongs to: the nearest folder upwards with `pipelines/`, else its own folder."""
    folder = folder.resolve()
    for candidate in (folder, folder.parent):
        if (candidate / "pipelines").is_dir():
            return candidate
    return folder


class _Scope(msgspec.Struct, frozen=True):
    """Where a stage stands: which endpoint, which of its path's parameters may be filled in."""

    endpoint: str | None
    params: tuple[str, ...]
    event: str | None


class _Made(NamedTuple):
    """What a stage became: its filter, the options that it gives, and all of them as text."""

    instance: Filter | Templated
    given: Mapping[str, Any]
    options: str


class Compiler:
    """Compiles one configuration; `problems`, `warnings` and `secrets`, as the file has them, fill up on the way."""

    def __init__(
        self,
        config: Config,
        registry: Registry,
        services: Services,
        environ: Mapping[str, str],
        *,
        token: bool = False,
    ) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.secrets: set[str] = set()
        self._config = config
        self._registry = registry
        self._services = services
        self._environ = environ
        self._token = token
        self._instances: dict[tuple[Any, ...], _Made | None] = {}
        self._chains: dict[tuple[str, _Scope], list[Step]] = {}
        self._used: set[tuple[str, str]] = set()
        self._reported: set[tuple[Path, int, str]] = set()

    def generation(self) -> Generation:
        config = self._config
        endpoints = [self._endpoint(table) for table in config.endpoints]
        default = self._default() if config.pipelines else None
        publication = self._pipeline("publication", config.pipelines, ("pipelines",), None, ())
        self._check_unused()
        self._check_files()
        self._warn_of_what_does_nothing()
        instances = [made.instance for made in self._instances.values() if made is not None]
        filters = [instance for instance in instances if isinstance(instance, Filter)]
        warnings = [without(self.secrets, one) for one in place_problems(self.warnings, config.source)]
        return Generation(config, self._services, endpoints, default, publication, filters, warnings)

    def _endpoint(self, table: EndpointTable) -> Endpoint:
        params = parse_path(table.path)[0].names
        pipelines = {}
        for event in CLIENT_EVENTS:
            # An endpoint's event replaces the same event of [pipelines]; the others are inherited.
            own = event in table.events
            stages = table.events if own else self._config.pipelines
            where: Path = ("endpoints", table.path) if own else ("pipelines",)
            pipelines[event] = self._pipeline(event, stages, where, table.path, params)
        # What an endpoint has from [server] is the same list, and at fault there.
        own = table.settings.origins is not self._config.server.origins
        origins = self._origins(table.settings, ("endpoints", table.path) if own else ("server",))
        return Endpoint(table.path, table.settings, table.bounds, origins, pipelines)

    def _default(self) -> Endpoint:
        pipelines = {
            event: self._pipeline(event, self._config.pipelines, ("pipelines",), None, ()) for event in CLIENT_EVENTS
        }
        settings = self._config.server
        return Endpoint(None, settings, self._config.limits, self._origins(settings, ("server",)), pipelines)

    def _origins(self, settings: Settings, table: Path) -> Origins:
        path = (*table, "origins")
        sound = []
        for index, origin in enumerate(settings.origins):
            try:
                parse_origins([origin])
            except ValueError as error:
                self._problem(Problem(str(error), (*path, index)))
            else:
                sound.append(origin)
        if "*" in settings.origins:
            self.warnings.append(
                Problem("every web page may connect", path, hint='origins = ["*"] turns the origin check off')
            )
        return parse_origins(sound)

    def _pipeline(
        self,
        event: str,
        tables: Mapping[str, list[str]],
        where: Path,
        endpoint: str | None,
        params: tuple[str, ...],
    ) -> Pipeline:
        scope = _Scope(endpoint, params, event)
        steps = self._steps(tables.get(event, []), (*where, event), scope, ())
        if self._token and event == "connect":
            logins = [login for step in steps if isinstance(login := getattr(step.hook, "__self__", None), Login)]
            if not logins:
                steps = self._stage(parse_stage(TOKEN_STAGE), (*where, event), scope, ()) + steps
            elif not any(login.takes_variable for login in logins):
                at = f"at {endpoint}" if endpoint is not None else "where no endpoint is named"
                hint = "its connect asks for tokens of its own"
                self.warnings.append(Problem(f"--token lets nobody in {at}", (*where, event), hint=hint))
        return Pipeline(event, steps)

    def _steps(self, stages: Sequence[str], path: Path, scope: _Scope, within: tuple[str, ...]) -> list[Step]:
        steps: list[Step] = []
        for index, text in enumerate(stages):
            try:
                stage = parse_stage(text)
                steps += self._stage(stage, (*path, index), scope, within)
            except StageError as error:
                self._keep_words(text)
                self._problem(Problem(error.message, (*path, index), error.offset, error.hint))
            except LookupProblem as error:
                offset = len(text) - len(text.lstrip())
                hint = did_you_mean(stage.name, [*self._config.filters, *self._config.chains])
                hint = hint if hint.startswith("did") else error.hint
                self._keep_words(text, hint)
                self._problem(Problem(error.message, (*path, index), offset, hint))
            if len(steps) > MAX_STAGES:
                self._problem(Problem(f"a pipeline of more than {MAX_STAGES} stages", (*path, index)))
                return []
        return steps

    def _keep(self, secrets: Iterable[str]) -> None:
        self.secrets |= {secret for secret in secrets if not _names_a_variable(secret)}

    def _keep_words(self, text: str, hint: str = "") -> None:
        """A stage that cannot be read: if its filter, or the one that is meant, takes secrets, any word may be one."""
        name, *words = text.split() or [""]
        meant = hint.split("'")[1] if hint.startswith("did you mean '") else name
        try:
            options = options_of(self._registry.find(meant).cls)
        except LookupProblem:
            return
        if any(option.secret for option in options) and (meant != name or not _binds(text, options)):
            self._keep(words)

    def _stage(self, stage: Stage, path: Path, scope: _Scope, within: tuple[str, ...]) -> list[Step]:
        """The steps of one stage: one for a filter, any number for a chain."""
        name = stage.name
        if name in self._config.filters:
            self._used.add(("filters", name))
            self._no_arguments(stage, f"the options of {name} stand in [filters.{name}]")
            table = ("filters", name)
            key: tuple[Any, ...] = (scope.endpoint, scope.event, *table)
            return self._step(key, stage, lambda: self._from_table(name, scope, within), path, scope)
        if name in self._config.chains:
            self._used.add(("chains", name))
            self._no_arguments(stage, f"{name} is a chain: it takes no arguments")
            if name in within:
                raise StageError(f"the chain {name} contains itself", 0, " -> ".join([*within, name]))
            if len(within) >= MAX_DEPTH:
                raise StageError(f"chains are nested more than {MAX_DEPTH} deep")
            # Once for each scope: chains that name others twice would take twice the time at each level.
            if (name, scope) not in self._chains:
                steps = self._steps(self._config.chains[name], ("chains", name), scope, (*within, name))
                self._chains[name, scope] = steps
            return self._chains[name, scope]
        key = (scope.endpoint, stage.text)
        return self._step(key, stage, lambda: self._from_stage(stage, path, scope), path, scope)

    def _no_arguments(self, stage: Stage, hint: str) -> None:
        if stage.arguments:
            raise StageError(f"{stage.name} takes no arguments here", stage.arguments[0].start, hint)

    def _step(
        self,
        key: tuple[Any, ...],
        stage: Stage,
        make: Callable[[], _Made | None],
        path: Path,
        scope: _Scope,
    ) -> list[Step]:
        """The one instance of a stage in its endpoint, as a step of the event's pipeline."""
        if key not in self._instances:
            self._instances[key] = make()
        made = self._instances[key]
        if made is None or scope.event is None:
            return []
        instance, given, options = made
        cls = instance.cls if isinstance(instance, Templated) else type(instance)
        hooks = hooks_of(cls)
        if scope.event not in hooks:
            raise StageError(f"{stage.name} does not serve {scope.event}", 0, f"it serves {', '.join(hooks)}")
        try:
            cls.check_event(scope.event, given)
        except ValueError as error:
            raise StageError(f"{stage.name}: {error}") from None
        if isinstance(instance, Templated):
            if scope.event == "publication":
                raise StageError("there is no client to fill a placeholder from in publication")
            method = instance.hook(scope.event)
        else:
            method = hook(instance, scope.event)
        # Of a filled filter nobody knows yet what an instance will hold: one that decides it for itself may wait.
        waits = instance.waits if isinstance(instance, Filter) else cls.waits is not False
        return [Step(method, _shown(stage, cls), options, waits)]

    def _from_stage(self, stage: Stage, path: Path, scope: _Scope) -> _Made | None:
        cls = self._registry.find(stage.name).cls
        options = options_of(cls)
        bound = bind(stage, options)
        values: dict[str, Any] = {}
        places: dict[str, tuple[Path, int]] = {}
        for option in options:
            if option.name not in bound:
                continue
            given = bound[option.name]
            if option.secret:
                self._keep(one.value for one in ([given] if isinstance(given, Argument) else given))
            if isinstance(given, Argument):
                values[option.name] = self._text(given, scope)
                if option.takes == "many":
                    values[option.name] = _split_list(values[option.name])
                places[option.name] = (path, given.at)
            elif option.takes == "named":
                values[option.name] = {str(one.key): _json_or_text(self._text(one, scope)) for one in given}
                places[option.name] = (path, given[0].start)
            else:
                values[option.name] = [self._text(one, scope) for one in given]
                places[option.name] = (path, given[0].start)
        return self._make(cls, stage.name, values, places, (path, 0), scope, ())

    def _text(self, argument: Argument, scope: _Scope) -> str | Template:
        return parse_value(argument.value, self._environ, scope.params, argument.at)

    def _from_table(self, name: str, scope: _Scope, within: tuple[str, ...]) -> _Made | None:
        path: Path = ("filters", name)
        if name in within:
            self._problem(Problem(f"the filter {name} contains itself", path, hint=" -> ".join([*within, name])))
            return None
        table = self._config.filters[name]
        if not table:
            return None  # at fault, and told
        try:
            cls = self._registry.find(str(table["use"])).cls
        except LookupProblem as error:
            self._problem(Problem(error.message, (*path, "use"), 0, error.hint))
            return None
        known = {option.name: option for option in options_of(cls)}
        values, places, sound = {}, {}, True
        for key, value in table.items():
            if key == "use":
                continue
            if key not in known:
                hint = did_you_mean(key, known) if known else f"{table['use']} has no options"
                self._problem(Problem(f"{table['use']} has no option {key!r}", (*path, key), 0, hint))
                sound = False
                continue
            places[key] = ((*path, key), 0)
            if known[key].secret:
                self._keep(str(one) for one in (value if isinstance(value, list) else [value]))
            try:
                values[key] = value if _holds_pipeline(known[key].type) else self._resolve(value, scope)
            except StageError as error:
                self._problem(Problem(error.message, (*path, key), error.offset, error.hint))
                sound = False
        made = self._make(cls, name, values, places, (path, 0), scope, (*within, name))
        return made if sound else None

    def _resolve(self, value: Any, scope: _Scope) -> Any:
        """Variables filled and placeholders found in every string of a TOML value."""
        if isinstance(value, str):
            return parse_value(value, self._environ, scope.params)
        if isinstance(value, list):
            return [self._resolve(item, scope) for item in value]
        if isinstance(value, dict):
            return {key: self._resolve(item, scope) for key, item in value.items()}
        return value

    def _make(
        self,
        cls: type[Filter],
        name: str,
        values: dict[str, Any],
        places: Mapping[str, tuple[Path, int]],
        place: tuple[Path, int],
        scope: _Scope,
        within: tuple[str, ...],
    ) -> _Made | None:
        """Convert the options and make the instance; None when a problem was reported."""
        fixed: dict[str, Any] = {}
        templates: dict[str, tuple[Option, Any]] = {}
        sound = True
        for option in options_of(cls):
            if option.name not in values:
                if option.required:
                    self._problem(Problem(f"{name} needs its option {option.name!r}", *place, hint=option.help))
                    sound = False
                continue
            value = values[option.name]
            where, offset = places[option.name]
            if (template := next(templates_in(value), None)) is not None:
                if option.secret:
                    message = f"{name}: {option.name}: no placeholders here, as a client could choose its own secret"
                    self._problem(Problem(message, where, offset, hidden=True))
                    sound = False
                elif option.has_grammar:
                    # Templated in, `" or true or "` of a path would become part of the condition.
                    message = f"{name}: {option.name}: no placeholders here, as a client could change what is asked"
                    hint = f"use the name: {_named(template)}" if "condition" in option.kind else ""
                    self._problem(Problem(message, where, offset, hint))
                    sound = False
                templates[option.name] = (option, value)
                continue
            try:
                fixed[option.field] = option.convert(value, self._maker(where, scope, within))
            except ValueError as error:
                message = f"{name}: {option.name}: {error}"
                self._problem(Problem(message, where, offset, option.help, hidden=option.secret))
                sound = False
        if not sound:
            return None
        if templates:
            if hasattr(cls, "start"):
                message = f"{name} starts with the server, before there is a client to fill a placeholder from"
                self._problem(Problem(message, *place))
                return None
            setting = Setting(self._config.folder, self._environ)
            filled = Templated(cls, fixed, templates, self._services, setting)
            return _Made(filled, values | fixed, _show(options_of(cls), values))
        try:
            instance = cls(**fixed)
            instance.services = self._services
            instance.prepare(Setting(self._config.folder, self._environ))
        except (ValueError, TypeError) as error:
            hidden = any(option.secret for option in options_of(cls))
            self._problem(Problem(f"{name}: {error}", *place, hidden=hidden))
            return None
        shown = {option.name: getattr(instance, option.field) for option in options_of(cls)}
        return _Made(instance, fixed, _show(options_of(cls), shown))

    def _maker(self, path: Path, scope: _Scope, within: tuple[str, ...]) -> Callable[[Any, Any], Any]:
        """How `msgspec.convert` builds what is fws's own: pipelines of a `switch`, conditions of a `when`."""

        def make(kind: Any, value: Any) -> Any:
            if kind is Pipeline:
                if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                    raise ValueError("expected a list of stages, each a string")
                return Pipeline(
                    scope.event or "message", self._steps(value, _find(self._config, path, value), scope, within)
                )
            return kind.parse(value)

        return make

    def _check_unused(self) -> None:
        """Chains and tables that no pipeline names are checked all the same, as far as one can without an event."""
        for section, names in (("chains", self._config.chains), ("filters", self._config.filters)):
            for name in names:
                if (section, name) in self._used:
                    continue
                self.warnings.append(Problem(f"nothing uses {name}", (section, name), key=True))
                scope = _Scope("", (), None)
                self._steps([name], (section, name), scope, ())

    def _check_files(self) -> None:
        static = self._config.server.static
        if static and not (self._config.folder / static).is_dir():
            hint = "it is relative to the folder of the TOML file"
            self._problem(Problem(f"there is no folder {static!r}", ("server", "static"), hint=hint))
        files: dict[Path, str] = {("redis", "ca"): self._config.redis.ca}
        if (tls := self._config.tls) is not None:
            files |= {("server", "tls", name): getattr(tls, name) for name in ("cert", "key", "client_ca")}
        for path, file in files.items():
            if file and not (self._config.folder / file).is_file():
                hint = "it is relative to the folder of the TOML file"
                self._problem(Problem(f"there is no file {file!r}", path, hint=hint))

    def _warn_of_what_does_nothing(self) -> None:
        """Sections that are read and kept, but that this version does not act on: silence would look like service."""
        for name, channel in self._config.channels.items():
            if channel.history:
                self.warnings.append(Problem("history has no effect yet", ("channels", name, "history")))

    def _problem(self, problem: Problem) -> None:
        """A chain is compiled wherever it is used; its problems are told once."""
        key = (problem.path, problem.offset, problem.message)
        if key not in self._reported:
            self._reported.add(key)
            self.problems.append(problem)


def _shown(stage: Stage, cls: type[Filter]) -> str:
    """A stage as it is written, without its secrets; the names of variables are none."""
    options = options_of(cls)
    if not stage.arguments or not any(option.secret for option in options):
        return stage.text.strip()
    bound = bind(stage, options)
    secrets = [bound[option.name] for option in options if option.secret and option.name in bound]
    hidden = [one for given in secrets for one in (given if isinstance(given, list) else [given])]
    ends = [argument.start for argument in stage.arguments[1:]] + [len(stage.text)]
    shown = [stage.name]
    for argument, end in zip(stage.arguments, ends, strict=True):
        if argument in hidden and not _names_a_variable(argument.value):
            shown.append((f"{argument.key}=" if argument.key else "") + HIDDEN)
        else:
            shown.append(stage.text[argument.start : end].strip())
    return " ".join(shown)


def _binds(text: str, options: Sequence[Option]) -> bool:
    """Whether it is known which word of a stage is which option's, so that the secrets among them are."""
    try:
        bind(parse_stage(text), options)
    except StageError:
        return False
    return True


def _names_a_variable(text: str) -> bool:
    """Whether it is `${NAME}` and no more: a default may be a secret."""
    match = VARIABLE.fullmatch(text)
    return match is not None and match[2] is None


def _json_or_text(value: str | Template) -> Any:
    """`n=5` as the number; what is no JSON, and what a placeholder fills in, is text."""
    if isinstance(value, Template):
        return value
    try:
        return msgspec.json.decode(value)
    except (ValueError, RecursionError):
        return value


def _named(template: Template) -> str:
    """How a condition asks for what the template's first placeholder would fill in."""
    placeholder = next(part for part in template.parts if isinstance(part, Placeholder))
    if placeholder.attribute:
        return f"{placeholder.name}.{placeholder.attribute}"
    return f"{'client' if placeholder.name in CLIENT_ATTRIBUTES else 'params'}.{placeholder.name}"


def _split_list(value: str | Template) -> list[Any]:
    """`fields=a,b` as a list; what a placeholder fills in is one item."""
    return [value] if isinstance(value, Template) else [item.strip() for item in value.split(",")]


def _holds_pipeline(hint: Any) -> bool:
    return hint is Pipeline or any(_holds_pipeline(arg) for arg in get_args(hint))


def _find(config: Config, path: Path, value: Any) -> Path:
    """The way to `value`, which stands somewhere below `path`: a table of pipelines is converted item by item."""
    node: Any = {"filters": config.filters}
    for step in path:
        if not isinstance(node, dict) or step not in node:
            return path
        node = node[step]
    if isinstance(node, dict):
        for key, item in node.items():
            if item is value:
                return (*path, key)
    return path


def _show(options: Sequence[Option], values: Mapping[str, Any]) -> str:
    """Options as they were understood, for `fws check -v`; those that are nothing are left out."""
    shown = ((option, values.get(option.name)) for option in options)
    return " ".join(f"{option.name}={option.text_of(value)}" for option, value in shown if value is not None)
