"""The modules of a project's `pipelines/`, as one generation imports them.

A generation imports a module whose source has changed, and every module that imports it, under a package name of its
own: `pipelines@2`. Modules that have not changed are shared with the generation before. Code that still runs in an old
generation keeps its modules and classes, which is why nothing is ever reloaded in place.

    pipelines.chat      generation 1
    pipelines@2.chat    generation 2, in which chat.py has changed
    pipelines@3.chat    generation 3: the same module object as in generation 2

An import of `pipelines.…` inside such a module means the package of its own generation.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import logging
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

PACKAGE = "pipelines"


class Modules:
    """The modules of one folder, with the sources that they had when this object was made.

    Args:
        folder: the folder `pipelines`.
        previous: the modules of the generation before, to share those that have not changed.

    Attributes:
        package: the name of the package in `sys.modules`.
    """

    def __init__(self, folder: Path, previous: Modules | None = None) -> None:
        self.folder = folder
        self.package: str
        self._number: int
        # Whose sources the package has.
        self._owner: Modules = self
        self._paths = _files(folder)
        self._sources = {name: path.read_bytes() for name, path in self._paths.items()}
        self._number = 1 if previous is None else previous._number + 1
        self._changed = set(self._sources)
        if previous is not None:
            self._changed = _changed(self._sources, previous._sources)
        if previous is not None and not self._changed and self._sources.keys() == previous._sources.keys():
            self.package, self._number = previous.package, previous._number
            self._owner = previous._owner
            return
        self.package = PACKAGE if previous is None else f"{PACKAGE}@{self._number}"
        self._make_package(previous)

    def same_as(self, other: Modules | None) -> bool:
        """Whether another generation uses the same package."""
        return other is not None and self.package == other.package

    def names(self) -> list[str]:
        """The modules that a stage can name."""
        tops = {name.partition(".")[0] for name in self._sources if name}
        return sorted(name for name in tops if not name.startswith("_"))

    def load(self, name: str) -> ModuleType:
        """Import a module. Raises whatever its code raises."""
        if _FINDER.packages.get(self.package) is not self._owner:
            # Another project of this process has taken the name since, as in a run of pytest.
            _purge(self.package)
            _FINDER.packages[self.package] = self._owner
        return importlib.import_module(f"{self.package}.{name}")

    def differences(self, other: Modules) -> list[str]:
        """The files whose content differs from another generation's, relative to the folder."""
        paths = {**other._paths, **self._paths}
        changed = [name for name in sorted(paths) if self._sources.get(name) != other._sources.get(name)]
        return [str(paths[name].relative_to(self.folder)) for name in changed]

    def forget(self) -> None:
        """No generation uses the package any more. Objects that still run keep what they need."""
        if _FINDER.packages.get(self.package) is self._owner:
            _purge(self.package)

    def _make_package(self, previous: Modules | None) -> None:
        """Make the package importable."""
        path = [str(self.folder)]
        known = sys.modules.get(self.package)
        if self.package != PACKAGE or (known is not None and list(getattr(known, "__path__", [])) != path):
            # Another project of this process has a folder of the same name, or a generation was never used.
            _purge(self.package)
        _FINDER.packages[self.package] = self
        if previous is None or "" in self._changed:
            return
        before = sys.modules.get(previous.package)
        if before is None:
            return
        package = ModuleType(self.package, before.__doc__)
        modules = {name for name in self._sources if "." not in name}
        vars(package).update(
            {name: value for name, value in vars(before).items() if not name.startswith("__") and name not in modules}
        )
        package.__path__ = path
        package.__package__ = self.package
        sys.modules[self.package] = package
        for name in self._sources.keys() - self._changed - {""}:
            module = sys.modules.get(f"{previous.package}.{name}")
            if module is not None:
                sys.modules[f"{self.package}.{name}"] = module
                parent, _, last = name.rpartition(".")
                setattr(sys.modules[f"{self.package}.{parent}".rstrip(".")], last, module)

    def find(self, fullname: str) -> ModuleSpec | None:
        """How to import one of the modules."""
        name = fullname.removeprefix(self.package).lstrip(".")
        if name in self._sources:
            path = self._paths[name]
            is_package = path.name == "__init__.py"
        elif any(other.startswith(f"{name}.") for other in self._sources) or not name:
            # A folder without an `__init__.py`.
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [str(self.folder.joinpath(*name.split(".")) if name else self.folder)]
            return spec
        else:
            return None
        loader = _Loader(fullname, str(path), self._sources[name], self.package)
        locations = [str(path.parent)] if is_package else None
        return spec_from_file_location(fullname, path, loader=loader, submodule_search_locations=locations)


class _Loader(SourceFileLoader):
    """Runs the source that was read when the generation was made. No compiled file on disk is used or written.

    Python compares a compiled file with the size and the second of its source, and two edits in one second may have
    the same.
    """

    def __init__(self, fullname: str, path: str, source: bytes, package: str) -> None:
        super().__init__(fullname, path)
        self._source = source
        self._package = package

    def get_data(self, path: str) -> bytes:
        return self._source

    def get_code(self, fullname: str) -> CodeType | None:
        code: CodeType = compile(self._source, self.path, "exec", dont_inherit=True)
        return code

    def exec_module(self, module: ModuleType) -> None:
        if self._package != PACKAGE:
            # Functions look up `__import__` in the builtins of their module, also when they run later.
            vars(module)["__builtins__"] = {**vars(builtins), "__import__": self._import}
        super().exec_module(module)

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        if level == 0 and name.partition(".")[0] == PACKAGE:
            name = self._package + name[len(PACKAGE) :]
        return builtins.__import__(name, globals, locals, fromlist or (), level)


class _Finder:
    """Finds the modules of generations for the import system."""

    def __init__(self) -> None:
        self.packages: dict[str, Modules] = {}

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        modules = self.packages.get(fullname.partition(".")[0])
        return None if modules is None else modules.find(fullname)


_FINDER = _Finder()
sys.meta_path.insert(0, _FINDER)


def _purge(package: str) -> None:
    """Remove a package and its modules from the import system."""
    _FINDER.packages.pop(package, None)
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]
        # `logging.getLogger(__name__)` has made one for each generation of the module.
        logging.Logger.manager.loggerDict.pop(name, None)


def _files(folder: Path) -> dict[str, Path]:
    """The Python files of a folder by the names of their modules; "" for `__init__.py` of the folder itself."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = list(path.relative_to(folder).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        if all(part.isidentifier() for part in parts) and path.is_file():
            found[".".join(parts)] = path
    return found


def _changed(sources: Mapping[str, bytes], before: Mapping[str, bytes]) -> set[str]:
    """The modules whose source differs, and those that import them, directly or not."""
    changed = {name for name, source in sources.items() if before.get(name) != source}
    gone = before.keys() - sources.keys()
    if "" in changed or "" in gone:
        return set(sources)
    uses = {name: _imports(name, source, sources) for name, source in sources.items()}
    while True:
        further = {name for name, used in uses.items() if name not in changed and used & (changed | gone)}
        if not further:
            return changed
        changed |= further


def _imports(name: str, source: bytes, known: Mapping[str, bytes]) -> set[str]:
    """The modules of the folder that a module may import. A name that is imported from a package may be one."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return set()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.partition(".")[0] == PACKAGE]
            found |= {one.partition(".")[2] for one in names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                parents = name.split(".")[: -node.level] if name else []
                base = ".".join([*parents, *([node.module] if node.module else [])])
            elif node.module and node.module.partition(".")[0] == PACKAGE:
                base = node.module.partition(".")[2]
            else:
                continue
            found.add(base)
            found |= {f"{base}.{alias.name}".lstrip(".") for alias in node.names}
    return found
