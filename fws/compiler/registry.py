"""Finds filters and sources by name: those of the project's `pipelines/`, the built-in ones, and those of packages.

A module is imported when a file names one of its filters or sources. A broken module that nothing uses does no harm.
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
from typing import Any, Final, Protocol

import msgspec

from fws.base.errors import FwsError
from fws.base.problem import did_you_mean, nearest
from fws.compiler.modules import PACKAGE, Modules
from fws.pipeline.component import Component
from fws.pipeline.events import EVENTS
from fws.pipeline.filter import Filter, check_hooks, hooks_of, misnamed_hooks, snake_case
from fws.pipeline.options import options_of
from fws.pipeline.source import Source

_ENGINE = Path(__file__).parents[1]


class Kind(msgspec.Struct, frozen=True):
    """What is looked up: filters or sources.

    Attributes:
        word: what one of them is called.
        base: their base class.
        package: the package of fws that has the built-in ones.
        group: the entry points of installed packages.
    """

    word: str
    base: type[Component]
    package: str
    group: str

    def has(self, cls: Any) -> bool:
        """Whether a class of a module is one that a file can use."""
        if not inspect.isclass(cls):
            return False
        if self is FILTERS:
            return issubclass(cls, Filter) and bool(hooks_of(cls) or misnamed_hooks(cls))
        return issubclass(cls, self.base)

    def check(self, cls: Any) -> None:
        """Check options and hooks of a class, so that mistakes are found now and not when a hook is called."""
        if inspect.isclass(cls) and issubclass(cls, self.base):
            options_of(cls)
            if issubclass(cls, Filter):
                check_hooks(cls)


FILTERS: Final = Kind("filter", Filter, "filters", "fws.filters")
SOURCES: Final = Kind("source", Source, "sources", "fws.sources")


class LookupProblem(FwsError):
    """A name does not lead to a filter: it is unknown or ambiguous, or its module cannot be imported."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Found(msgspec.Struct, frozen=True):
    """The class of a filter or source, its name, and its origin (`project`, `fws` or `package`), for equal names."""

    name: str
    cls: type[Any]
    origin: str


class Origin(Protocol):
    """Where filters or sources come from."""

    label: str

    def modules(self) -> list[str]:
        """The first parts of the names that it may provide."""

    def load(self, module: str) -> dict[str, type[Any]]:
        """The classes of one module, by full name. Raises LookupProblem if it cannot be imported."""


class BuiltIn:
    """Those that come with fws."""

    label = "fws"

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def modules(self) -> list[str]:
        names = (info.name for info in pkgutil.iter_modules([str(_ENGINE / self._kind.package)]))
        return sorted(name for name in names if not name.startswith("_"))

    def load(self, module: str) -> dict[str, type[Any]]:
        return found_in(importlib.import_module(f"fws.{self._kind.package}.{module}"), module, self._kind)


class Project:
    """Those in a project's `pipelines/`."""

    label = "project"

    def __init__(self, modules: Modules, kind: Kind) -> None:
        self._modules = modules
        self._kind = kind

    def modules(self) -> list[str]:
        return self._modules.names()

    def load(self, module: str) -> dict[str, type[Any]]:
        try:
            return found_in(self._modules.load(module), module, self._kind)
        except (Exception, SystemExit) as error:  # a user's module may raise anything
            raise LookupProblem(f"{self._modules.folder / module}.py cannot be imported: {_reason(error)}") from error


class Packages:
    """Those of installed packages: entry points of a group such as `fws.filters`, each a class."""

    label = "package"

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        # To read the metadata of all installed packages takes milliseconds.
        self._points = tuple(entry_points(group=kind.group))

    def modules(self) -> list[str]:
        return sorted({point.name.split(".")[0] for point in self._points})

    def load(self, module: str) -> dict[str, type[Any]]:
        found = {}
        word = self._kind.word
        for point in self._points:
            if point.name.split(".")[0] != module:
                continue
            try:
                cls = point.load()
                self._kind.check(cls)
            except (Exception, SystemExit) as error:  # as for a project's module
                reason = _reason(error)
                raise LookupProblem(f"the package's {word} {point.name} cannot be imported: {reason}") from error
            if not (inspect.isclass(cls) and issubclass(cls, self._kind.base)):
                base = self._kind.base.__name__
                raise LookupProblem(f"the package's entry point {point.name} is not a {base} class")
            found[point.name] = cls
        return found


class Registry:
    """All filters and sources that one project can use, as its modules are when the registry is made.

    Args:
        project: the folder that has `pipelines/`; None for only the built-in and installed ones.
        previous: the registry of the generation before. Modules that have not changed since are shared with it.

    Attributes:
        project: the project's modules; None without any.
    """

    def __init__(self, project: Path | None = None, previous: Registry | None = None) -> None:
        self.project: Modules | None = None
        if project is not None and (project / PACKAGE).is_dir():
            before = previous.project if previous is not None else None
            self.project = Modules((project / PACKAGE).resolve(), before)
        self._found: dict[Kind, list[tuple[Origin, list[str]]]] = {}
        self._loaded: dict[tuple[Kind, str, str], dict[str, type[Any]]] = {}

    def _origins(self, kind: Kind) -> list[tuple[Origin, list[str]]]:
        """Where they come from, each with its modules."""
        known = self._found.get(kind)
        if known is None:
            origins: list[Origin] = [] if self.project is None else [Project(self.project, kind)]
            origins += [BuiltIn(kind), Packages(kind)]
            known = self._found[kind] = [(origin, origin.modules()) for origin in origins]
        return known

    def forget(self, other: Registry) -> None:
        """The registry is not used any more: forget its modules, unless another registry shares them."""
        if self.project is not None and not self.project.same_as(other.project):
            self.project.forget()

    def find(self, name: str, kind: Kind = FILTERS) -> Found:
        """The filter of that name, or the source. `origin:name` selects that of one origin.

        Raises:
            LookupProblem: says what is wrong and what would be right.
        """
        wanted, _, plain = name.rpartition(":")
        origins = self._origins(kind)
        labels = [origin.label for origin, _ in origins]
        if wanted and wanted not in labels:
            raise LookupProblem(f"there is no origin {wanted!r}", "known: " + ", ".join(labels))
        found = []
        for origin, modules in origins:
            if wanted in ("", origin.label):
                cls = self._load(kind, origin, modules, plain.split(".")[0]).get(plain)
                if cls is not None:
                    found.append(Found(plain, cls, origin.label))
        if not found:
            hint = self._without(plain, kind) or self._nearest(plain, kind)
            raise LookupProblem(f"there is no {kind.word} {name!r}", hint)
        if len(found) > 1:
            choices = " or ".join(f"{one.origin}:{plain}" for one in found)
            raise LookupProblem(f"{len(found)} {kind.word}s are named {plain!r}", f"say which: {choices}")
        return found[0]

    def candidates(self, name: str) -> list[type[Filter]]:
        """The filters that a name may mean: all of that name or in a module of that name, else of the nearest name."""
        plain = name.rpartition(":")[2]
        known = [found for found in self.all() if isinstance(found, Found)]
        exact = [found.cls for found in known if plain in (found.name, found.name.split(".")[0])]
        near = nearest(plain, (found.name for found in known))
        return exact or [found.cls for found in known if found.name == near]

    def all(self, kind: Kind = FILTERS) -> Iterator[Found | LookupProblem]:
        """All filters or sources, origin by origin, and a problem for each module that cannot be imported."""
        for origin, modules in self._origins(kind):
            for module in modules:
                try:
                    for name, cls in sorted(self._load(kind, origin, modules, module).items()):
                        yield Found(name, cls, origin.label)
                except LookupProblem as problem:
                    yield problem

    def _load(self, kind: Kind, origin: Origin, modules: list[str], module: str) -> dict[str, type[Any]]:
        key = (kind, origin.label, module)
        if key not in self._loaded:
            self._loaded[key] = origin.load(module) if module in modules else {}
        return self._loaded[key]

    def _without(self, name: str, kind: Kind) -> str:
        """What is wrong with a project's module of that name that has no such filter; empty without such a module."""
        for origin, modules in self._origins(kind):
            if origin.label != "project" or name not in modules:
                continue
            found = self._load(kind, origin, modules, name)
            if found:
                return f"pipelines/{name}.py has several {kind.word}s: {', '.join(found)}"
            if kind is SOURCES:
                return f"pipelines/{name}.py has no subclass of Source"
            events = ", ".join(EVENTS)
            return f"pipelines/{name}.py has no subclass of Filter with a method for an event: {events}"
        return ""

    def _nearest(self, name: str, kind: Kind) -> str:
        known = [found.name for found in self.all(kind) if isinstance(found, Found)]
        return did_you_mean(name, known) or "`fws filters` lists all filters and sources"


def found_in(module: ModuleType, name: str, kind: Kind = FILTERS) -> dict[str, type[Any]]:
    """The filters or sources of a module. A single one has the module's name, several are called `module.name`."""
    classes = [
        cls
        for label, cls in vars(module).items()
        if kind.has(cls) and cls.__module__ == module.__name__ and not label.startswith("_")
    ]
    for cls in classes:
        kind.check(cls)
    if len(classes) == 1:
        return {name: classes[0]}
    return {f"{name}.{snake_case(cls.__name__)}": cls for cls in classes}


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
