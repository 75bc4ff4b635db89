"""Finds filters by the names that stages use: in the project's `pipelines/`, built in, in installed packages.

Importing a module makes its filters available; the TOML decides which are used. Modules are imported when a
stage names them, so a broken file that nothing uses breaks nothing.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Protocol

import msgspec

from fws.base.errors import FwsError
from fws.base.problem import did_you_mean, nearest
from fws.pipeline.events import EVENTS
from fws.pipeline.filter import Filter, check_hooks, hooks_of, misnamed_hooks, snake_case
from fws.pipeline.options import options_of

_ENGINE = Path(__file__).parents[1]


class LookupProblem(FwsError):
    """A name that gives no filter: unknown, ambiguous, or in a module that does not import."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Found(msgspec.Struct, frozen=True):
    """A filter class, the name it goes by and the origin (`project`, `fws`, `package`) that tells equal names apart."""

    name: str
    cls: type[Filter]
    origin: str


class Origin(Protocol):
    """A place that filters come from."""

    label: str

    def modules(self) -> list[str]:
        """First parts of the names it may provide."""

    def load(self, module: str) -> dict[str, type[Filter]]:
        """The filters of one of these, by full name. Raises LookupProblem when it does not import."""


class Folder:
    """The modules of a Python package: the built-in filters, or a project's `pipelines/`."""

    def __init__(self, label: str, package: str, path: Path) -> None:
        self.label = label
        self._package = package
        self._path = path

    def modules(self) -> list[str]:
        """A file whose name is no word (`my-filter.py`) cannot be named in a stage, and is none."""
        names = (info.name for info in pkgutil.iter_modules([str(self._path)]))
        return sorted(name for name in names if name.isidentifier() and not name.startswith("_"))

    def load(self, module: str) -> dict[str, type[Filter]]:
        if self._package not in sys.modules or list(sys.modules[self._package].__path__) != [str(self._path)]:
            self._adopt()
        name = f"{self._package}.{module}"
        try:
            return _usable(filters_in(importlib.import_module(name), module))
        except (Exception, SystemExit) as error:  # whatever a user's module does at import is a problem of that file
            raise LookupProblem(f"{self._path / module}.py does not import: {_reason(error)}") from error

    def _adopt(self) -> None:
        """Make the folder importable under the package's name, in place of another project's folder of that name."""
        for name in [name for name in sys.modules if name == self._package or name.startswith(self._package + ".")]:
            del sys.modules[name]
        package = ModuleType(self._package)
        package.__path__ = [str(self._path)]
        sys.modules[self._package] = package
        importlib.invalidate_caches()


class Packages:
    """Filters of installed packages: entry points of the group `fws.filters`, each a filter class."""

    label = "package"
    group = "fws.filters"

    def modules(self) -> list[str]:
        return sorted({point.name.split(".")[0] for point in entry_points(group=self.group)})

    def load(self, module: str) -> dict[str, type[Filter]]:
        found = {}
        for point in entry_points(group=self.group):
            if point.name.split(".")[0] != module:
                continue
            try:
                cls = point.load()
                _usable({point.name: cls})
            except (Exception, SystemExit) as error:  # as for a project's module
                raise LookupProblem(f"the package's filter {point.name} does not import: {_reason(error)}") from error
            if not (inspect.isclass(cls) and issubclass(cls, Filter)):
                raise LookupProblem(f"the package's entry point {point.name} is no Filter class")
            found[point.name] = cls
        return found


class Registry:
    """All filters within reach of one project.

    Args:
        project: the folder that holds `pipelines/`; None for the built-in and installed ones alone.
    """

    def __init__(self, project: Path | None = None) -> None:
        self._origins: list[Origin] = []
        if project is not None and (project / "pipelines").is_dir():
            self._origins.append(Folder("project", "pipelines", (project / "pipelines").resolve()))
        self._origins.append(Folder("fws", "fws.filters", _ENGINE / "filters"))
        self._origins.append(Packages())
        self._loaded: dict[tuple[str, str], dict[str, type[Filter]]] = {}

    def find(self, name: str) -> Found:
        """The filter of that name; `origin:name` picks one origin's.

        Raises:
            LookupProblem: with what is wrong and what would be right.
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
        """Every filter within reach, origin by origin, and a problem for each module that does not import."""
        for origin in self._origins:
            for module in origin.modules():
                try:
                    for name, cls in sorted(self._load(origin, module).items()):
                        yield Found(name, cls, origin.label)
                except LookupProblem as problem:
                    yield problem

    def _load(self, origin: Origin, module: str) -> dict[str, type[Filter]]:
        key = (origin.label, module)
        if key not in self._loaded:
            self._loaded[key] = origin.load(module) if module in origin.modules() else {}
        return self._loaded[key]

    def _without(self, name: str) -> str:
        """What is wrong with a project's module that has the name, but no filter; empty when there is none."""
        for origin in self._origins:
            if origin.label != "project" or name not in origin.modules():
                continue
            filters = self._load(origin, name)
            if filters:
                return f"pipelines/{name}.py has several: {', '.join(filters)}"
            events = ", ".join(EVENTS)
            return f"pipelines/{name}.py has no class that is a Filter with a method named as an event: {events}"
        return ""

    def _nearest(self, name: str) -> str:
        known = [found.name for found in self.all() if isinstance(found, Found)]
        return did_you_mean(name, known) or "`fws filters` lists them"


def filters_in(module: ModuleType, name: str) -> dict[str, type[Filter]]:
    """The filters that a module defines: one alone goes by the module's name, several as `module.name`."""
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
    """The same filters, their options and hooks looked at: what can only fail later is a fault of the module."""
    for cls in filters.values():
        if inspect.isclass(cls) and issubclass(cls, Filter):
            options_of(cls)
            check_hooks(cls)
    return filters


def _reason(error: BaseException) -> str:
    """Kind, words and place of an import error: the last line that is the module's own."""
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
