"""Builds filters: converts the options of a stage or table, and makes the filter's instance."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from fws.base.problem import Path, did_you_mean
from fws.base.tree import leaves, map_leaves
from fws.compiler.findings import Findings
from fws.compiler.secrets import possible_secrets, secret_arguments, secret_values
from fws.pipeline.component import Setting
from fws.pipeline.filter import Filter
from fws.pipeline.options import Option, by_name, options_of
from fws.pipeline.pipeline import Pipeline
from fws.pipeline.placeholder import CLIENT_ATTRIBUTES, Placeholder, Template, parse_value
from fws.pipeline.services import Services
from fws.pipeline.stage import Argument, Stage, StageError, bind
from fws.pipeline.templated import Templated, templates_in


class Built(NamedTuple):
    """What a stage became.

    Attributes:
        cls: the class of the filter or source.
        instance: the filter, or one instance for each set of placeholder values; the source.
        given: the options that the stage gives, converted; a value with placeholders is as in the file.
        options: all options as text, for `fws check -v`.
        branches: the pipelines among the options, such as `case.chat` of a `switch`.
        written: the options as the file gives them, with their variables filled in.
    """

    cls: type[Any]
    instance: Any
    given: Mapping[str, Any]
    options: str
    branches: tuple[tuple[str, Pipeline], ...]
    written: Mapping[str, Any]


class _Given(msgspec.Struct, frozen=True):
    """The value of one option, with its variables filled in, and where it is in the file.

    `valid` is false if a problem of the value was found already.
    """

    value: Any
    path: Path
    offset: int = 0
    valid: bool = True


class Builder:
    """Makes the filters of one file.

    Args:
        environ: the values of `${NAME}`.
    """

    def __init__(self, services: Services, setting: Setting, environ: Mapping[str, str], findings: Findings) -> None:
        self._services = services
        self._setting = setting
        self._environ = environ
        self._findings = findings

    def from_stage(
        self, cls: type[Filter], stage: Stage, path: Path, params: Sequence[str], before: Built | None = None
    ) -> Built | None:
        """The filter of a stage; None if a problem was found.

        Args:
            path: the place of the stage.
            params: the parameters of the endpoint's path.
            before: what the same stage was in the generation in force. It is returned if nothing has changed.
        """
        findings = self._findings
        options = options_of(cls)
        try:
            bound = bind(stage, options)
        except StageError as error:
            findings.secrets |= possible_secrets(stage.text, [cls])
            findings.mistake(error, path)
            return None
        findings.secrets |= {argument.value for argument in secret_arguments(bound, options)}
        given: dict[str, _Given] = {}
        reported = findings.reported
        for option in options:
            if option.name not in bound:
                continue
            arguments = bound[option.name]
            if isinstance(arguments, Argument):
                if arguments.key in option.former:
                    self._renamed(stage.name, option, arguments.key, path, arguments.start)
                value: Any = self._text(option, arguments, path, params)
                if option.takes == "many":
                    value = _split_list(value)
                given[option.name] = _Given(value, path, arguments.at)
            elif option.takes == "named":
                value = {str(one.key): _json_or_text(self._text(option, one, path, params)) for one in arguments}
                given[option.name] = _Given(value, path, arguments[0].start)
            else:
                value = [self._text(option, one, path, params) for one in arguments]
                given[option.name] = _Given(value, path, arguments[0].start)
        if findings.reported > reported:
            return None
        return self._make(cls, stage.name, given, path, before=before)

    def from_table(
        self,
        cls: type[Any],
        name: str,
        table: Mapping[str, Any],
        branches: Mapping[str, Any],
        params: Sequence[str],
        before: Built | None = None,
        section: str = "filters",
    ) -> Built | None:
        """The filter of `[filters.NAME]`, or the source of `[sources.NAME]`; None if a problem was found.

        Args:
            branches: the options that hold pipelines, already compiled.
            before: what the same table was in the generation in force. It is returned if nothing has changed.
        """
        findings = self._findings
        path: Path = (section, name)
        known = by_name(options_of(cls))
        given: dict[str, _Given] = {}
        reported = findings.reported
        for key, value in table.items():
            if key == "use":
                continue
            if key not in known:
                hint = did_you_mean(key, known) if known else f"{table['use']} has no options"
                findings.problem(f"{table['use']} has no option {key!r}", (*path, key), 0, hint)
                continue
            option = known[key]
            if option.secret:
                findings.secrets |= secret_values(value)
            if option.name in given:
                findings.problem(f"{option.name!r} is given twice", (*path, key))
            if key in option.former:
                self._renamed(name, option, key, (*path, key), key=True)
            found = findings.reported
            filled = branches[key] if key in branches else self._filled(option, value, (*path, key), params)
            given[option.name] = _Given(filled, (*path, key), valid=findings.reported == found)
        sound = findings.reported == reported
        built = self._make(cls, name, given, path, [known[key].name for key in branches], before)
        return built if sound else None

    def _renamed(
        self, name: str, option: Option, former: str, path: Path, offset: int = 0, *, key: bool = False
    ) -> None:
        """Warn that an option is given by its former name."""
        message = f"{name}: the option {former} is called {option.name} now"
        self._findings.warning(message, path, offset, f"write {option.name}", key=key)

    def _text(self, option: Option, argument: Argument, path: Path, params: Sequence[str]) -> str | Template:
        try:
            return parse_value(argument.value, self._environ, params, argument.at, verbatim=option.verbatim)
        except StageError as error:
            self._findings.mistake(error, path)
            return ""

    def _filled(self, option: Option, value: Any, path: Path, params: Sequence[str]) -> Any:
        """A value of TOML with the variables filled in and the placeholders found in all of its strings."""

        def fill(leaf: Any, place: Path) -> Any:
            if not isinstance(leaf, str):
                return leaf
            try:
                return parse_value(leaf, self._environ, params, verbatim=option.verbatim)
            except StageError as error:
                self._findings.mistake(error, place)
                return leaf

        return map_leaves(value, fill, path)

    def _make(
        self,
        cls: type[Any],
        name: str,
        given: Mapping[str, _Given],
        path: Path,
        branching: Container[str] = (),
        before: Built | None = None,
    ) -> Built | None:
        """Convert the options and make the instance.

        Args:
            branching: the options that hold pipelines.
        """
        findings = self._findings
        options = options_of(cls)
        fixed: dict[str, Any] = {}
        templates: dict[str, tuple[Option, Any]] = {}
        reported = findings.reported
        for option in options:
            one = given.get(option.name)
            if one is None:
                if option.required:
                    findings.problem(f"{name} needs its option {option.name!r}", path, hint=option.help)
            elif not one.valid:
                continue
            elif (template := next(templates_in(one.value), None)) is not None:
                self._check_template(name, option, template, one)
                templates[option.name] = (option, one.value)
            else:
                try:
                    fixed[option.field] = option.convert(one.value, _parse)
                except ValueError as error:
                    message = f"{name}: {option.name}: {error}"
                    findings.problem(message, one.path, one.offset, option.help, hidden=option.secret)
        if findings.reported > reported:
            return None
        written = {key: one.value for key, one in given.items()}
        if before is not None and before.cls is cls and before.written == written:
            return before
        branches = tuple(_branches([option for option in options if option.name in branching], fixed))
        if templates:
            if hasattr(cls, "start"):
                message = f"{name} starts with the server, before a client exists that could fill a placeholder"
                findings.problem(message, path)
                return None
            values = dict(written)
            instance = Templated(cls, fixed, templates, self._services, self._setting)
            return Built(cls, instance, values | fixed, _show(options, values), branches, written)
        try:
            made = cls(**fixed)
            made.services = self._services
            made.prepare(self._setting)
        except (ValueError, TypeError) as error:
            findings.problem(f"{name}: {error}", path, hidden=any(option.secret for option in options))
            return None
        values = {option.name: getattr(made, option.field) for option in options}
        return Built(cls, made, fixed, _show(options, values), branches, written)

    def _check_template(self, name: str, option: Option, template: Template, given: _Given) -> None:
        """Refuse placeholders where a client could use them to change the meaning of an option."""
        if option.secret:
            message = f"{name}: {option.name} takes no placeholders, because a client could choose its own secret"
            self._findings.problem(message, given.path, given.offset, hidden=True)
        elif option.has_grammar:
            # A path such as `" or true or "` would become a part of a condition.
            condition = "condition" in option.kind
            what = "a client could change the condition" if condition else "a client could choose it"
            hint = f"use the name: {_named(template)}" if condition else ""
            message = f"{name}: {option.name} takes no placeholders, because {what}"
            self._findings.problem(message, given.path, given.offset, hint)


def _parse(kind: Any, value: Any) -> Any:
    """Make a type of fws from a plain value, as `dec_hook` of `msgspec.convert`. Pipelines are compiled before that."""
    if kind is not Pipeline:
        return kind.parse(value)
    if not isinstance(value, Pipeline):
        raise ValueError("expected a list of stages, each a string")
    return value


def _branches(options: Sequence[Option], values: Mapping[str, Any]) -> Iterator[tuple[str, Pipeline]]:
    """The pipelines in the values of options, each with its label: `default`, `case.chat`."""
    for option in options:
        for path, leaf in leaves(values.get(option.field), (option.name,)):
            if isinstance(leaf, Pipeline):
                yield ".".join(map(str, path)), leaf


def _json_or_text(value: str | Template) -> Any:
    """`n=5` as the number 5. Text that is not JSON, and text with placeholders, stays text."""
    if isinstance(value, Template):
        return value
    try:
        return msgspec.json.decode(value)
    except (ValueError, RecursionError):
        return value


def _named(template: Template) -> str:
    """The name with which a condition asks for the value of the template's first placeholder."""
    placeholder = next(part for part in template.parts if isinstance(part, Placeholder))
    if placeholder.attribute:
        return f"{placeholder.name}.{placeholder.attribute}"
    return f"{'client' if placeholder.name in CLIENT_ATTRIBUTES else 'params'}.{placeholder.name}"


def _split_list(value: str | Template) -> list[Any]:
    """`fields=a,b` as a list. A text with placeholders is one item."""
    return [value] if isinstance(value, Template) else [item.strip() for item in value.split(",")]


def _show(options: Sequence[Option], values: Mapping[str, Any]) -> str:
    """Options as they were understood, for `fws check -v`; those without a value are left out."""
    shown = ((option, values.get(option.name)) for option in options)
    return " ".join(f"{option.name}={option.text_of(value)}" for option, value in shown if value is not None)
