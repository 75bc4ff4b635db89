"""Finds filters by name: those of the project's `pipelines/`, the built-in ones, and those of installed packages.

A module is imported when a stage names one of its filters. A broken module that no stage uses does no harm.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import traceback
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Protocol

import msgspec

from fws.base.errors import FwsError
from fws.base.problem import did_you_mean, nearest
from fws.compiler.modules import PACKAGE, Modules
from fws.pipeline.events import EVENTS
from fws.pipeline.filter import Filter, check_hooks, hooks_of, misnamed_hooks, snake_case
from fws.pipeline.options import options_of

_ENGINE = Path(__file__).parents[1]


class LookupProblem(FwsError):
    """A name does not lead to a filter: it is unknown or ambiguous, or its module cannot be imported."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Found(msgspec.Struct, frozen=True):
    """A filter's class, its name, and its origin (`project`, `fws` or `package`), which distinguishes equal names."""

    name: str
    cls: type[Filter]
    origin: str


class Origin(Protocol):
    """A source of filters."""

    label: str

    def modules(self) -> list[str]:
        """The first parts of the names that it may provide."""

    def load(self, module: str) -> dict[str, type[Filter]]:
        """The filters of one module, by full name. Raises LookupProblem if it cannot be imported."""


class BuiltIn:
    """The filters that come with fws."""

    label = "fws"

    def modules(self) -> list[str]:
        names = (info.name for info in pkgutil.iter_modules([str(_ENGINE / "filters")]))
        return sorted(name for name in names if not name.startswith("_"))

    def load(self, module: str) -> dict[str, type[Filter]]:
        return _usable(filters_in(importlib.import_module(f"fws.filters.{module}"), module))


class Project:
    """The filters in a project's `pipelines/`."""

    label = "project"

    def __init__(self, modules: Modules) -> None:
        self._modules = modules

    def modules(self) -> list[str]:
        return self._modules.names()

    def load(self, module: str) -> dict[str, type[Filter]]:
        try:
            return _usable(filters_in(self._modules.load(module), module))
        except (Exception, SystemExit) as error:  # a user's module may raise anything
            raise LookupProblem(f"{self._modules.folder / module}.py cannot be imported: {_reason(error)}") from error


class Packages:
    """Filters of installed packages: entry points of the group `fws.filters`, each a filter class."""

    label = "package"
    group = "fws.filters"

    def __init__(self) -> None:
        # To read the metadata of all installed packages takes milliseconds.
        self._points = tuple(entry_points(group=self.group))

    def modules(self) -> list[str]:
        return sorted({point.name.split(".")[0] for point in self._points})

    def load(self, module: str) -> dict[str, type[Filter]]:
        found = {}
        for point in self._points:
            if point.name.split(".")[0] != module:
                continue
            try:
                cls = point.load()
                _usable({point.name: cls})
            except (Exception, SystemExit) as error:  # as for a project's module
                reason = _reason(error)
                raise LookupProblem(f"the package's filter {point.name} cannot be imported: {reason}") from error
            if not (inspect.isclass(cls) and issubclass(cls, Filter)):
                raise LookupProblem(f"the package's entry point {point.name} is not a Filter class")
            found[point.name] = cls
        return found


class Registry:
    """All filters that one project can use, as its modules are when the registry is made.

    Args:
        project: the folder that has `pipelines/`; None for only the built-in and installed filters.
        previous: the registry of the generation before. Modules that have not changed since are shared with it.

    Attributes:
        project: the project's modules; None without any.
    """

    def __init__(self, project: Path | None = None, previous: Registry | None = None) -> None:
        self._origins: list[Origin] = []
        self.project: Modules | None = None
        if project is not None and (project / PACKAGE).is_dir():
            before = previous.project if previous is not None else None
            self.project = Modules((project / PACKAGE).resolve(), before)
            self._origins.append(Project(self.project))
        self._origins.append(BuiltIn())
        self._origins.append(Packages())
        self._modules = {origin.label: origin.modules() for origin in self._origins}
        self._loaded: dict[tuple[str, str], dict[str, type[Filter]]] = {}

    def forget(self, other: Registry) -> None:
        """The registry is not used any more: forget its modules, unless another registry shares them."""
        if self.project is not None and not self.project.same_as(other.project):
            self.project.forget()

    def find(self, name: str) -> Found:
        """The filter of that name. `origin:name` selects the filter of one origin.

        Raises:
            LookupProblem: says what is wrong and what would be right.
        """
        wanted, _, plain = name.rpartition(":")
        labels = [origin.label for origin in self._origins]
        if wanted and wanted not in labels:
            raise LookupProblem(f"there is no origin {wanted!r}", "known: " + ", ".join(labels))
        found = []
        for origin in self._origins:
            if wanted in ("", origin.label):
                cls = self._load(origin, plain.split(".")[0]).get(plain)
                if cls is not None:
                    found.append(Found(plain, cls, origin.label))
        if not found:
            raise LookupProblem(f"there is no filter {name!r}", self._without(plain) or self._nearest(plain))
        if len(found) > 1:
            choices = " or ".join(f"{one.origin}:{plain}" for one in found)
            raise LookupProblem(f"{len(found)} filters are named {plain!r}", f"say which: {choices}")
        return found[0]

    def candidates(self, name: str) -> list[type[Filter]]:
        """The filters that a name may mean: all of that name or in a module of that name, else of the nearest name."""
        plain = name.rpartition(":")[2]
        known = [found for found in self.all() if isinstance(found, Found)]
        exact = [found.cls for found in known if plain in (found.name, found.name.split(".")[0])]
        near = nearest(plain, (found.name for found in known))
        return exact or [found.cls for found in known if found.name == near]

    def all(self) -> Iterator[Found | LookupProblem]:
        """All filters, origin by origin, and a problem for each module that cannot be imported."""
        for origin in self._origins:
            for module in self._modules[origin.label]:
                try:
                    for name, cls in sorted(self._load(origin, module).items()):
                        yield Found(name, cls, origin.label)
                except LookupProblem as problem:
                    yield problem

    def _load(self, origin: Origin, module: str) -> dict[str, type[Filter]]:
        key = (origin.label, module)
        if key not in self._loaded:
            self._loaded[key] = origin.load(module) if module in self._modules[origin.label] else {}
        return self._loaded[key]

    def _without(self, name: str) -> str:
        """What is wrong with a project's module of that name that has no such filter; empty without such a module."""
        for origin in self._origins:
            if origin.label != "project" or name not in self._modules[origin.label]:
                continue
            filters = self._load(origin, name)
            if filters:
                return f"pipelines/{name}.py has several filters: {', '.join(filters)}"
            events = ", ".join(EVENTS)
            return f"pipelines/{name}.py has no subclass of Filter with a method for an event: {events}"
        return ""

    def _nearest(self, name: str) -> str:
        known = [found.name for found in self.all() if isinstance(found, Found)]
        return did_you_mean(name, known) or "`fws filters` lists them"


def filters_in(module: ModuleType, name: str) -> dict[str, type[Filter]]:
    """The filters of a module. A single filter has the module's name, several are called `module.name`."""
    classes = [
        cls
        for label, cls in vars(module).items()
        if inspect.isclass(cls)
        and issubclass(cls, Filter)
        and cls.__module__ == module.__name__
        and not label.startswith("_")
        and (hooks_of(cls) or misnamed_hooks(cls))
    ]
    if len(classes) == 1:
        return {name: classes[0]}
    return {f"{name}.{snake_case(cls.__name__)}": cls for cls in classes}


def _usable(filters: dict[str, type[Filter]]) -> dict[str, type[Filter]]:
    """Check options and hooks of filters, so that mistakes are found now and not when a hook is called."""
    for cls in filters.values():
        if inspect.isclass(cls) and issubclass(cls, Filter):
            options_of(cls)
            check_hooks(cls)
    return filters


def _reason(error: BaseException) -> str:
    """The type, text and place of an import error. The place is the last line that belongs to the module."""
    if isinstance(error, SyntaxError):
        return f"{error.msg} (line {error.lineno})"
    files = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    own = [(file, line) for file, line in files if "importlib" not in str(file) and _ENGINE not in file.parents]
    place = f" (line {own[-1][1]} of {own[-1][0].name})" if own else ""
    if "cannot define __init__" in str(error):
        # msgspec's words; without them its own line is shown, which is less helpful.
        return (
            f"a filter has no __init__{place}: declare options as fields of the class, derive values in "
            "`__post_init__(self)`, and read files in `prepare(self, setting)`"
        )
    return f"{type(error).__name__}: {error}{place}"
