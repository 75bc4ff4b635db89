"""Imports point down only, type-only imports included, and `import fws` loads nothing that must be patched first."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fws"
MAX_LINES = 480
MAX_ROOT_MODULES = 16

# Packages from the bottom to the top. A package may import those in the lines above its own, and itself.
# docs/architecture.md shows the same table, and a test compares the two.
LAYERS = [
    {"base"},
    {"wire", "transcripts"},
    {"pipeline"},
    {"config", "runtime", "auth", "http"},
    {"compiler", "redis", "workers", "programs", "webhooks"},
    {"brokers", "storages"},
    {"histories", "presence", "nodes", "journals"},
    {"channels"},
    {"protocols"},
    {"clients"},
    {"live", "api", "schedules", "metrics", "tracing"},
    {"server", "reference"},
    {"classic", "testing"},
    {"filters", "sources"},
    {"cli", "__main__", "pytest_plugin"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

# The façade: `import fws` gives all names that a filter needs, which come from these packages. `fws.filter` is its
# older path.
FACADE = {"base", "pipeline"}
FACADE_MODULES = {"", "filter"}
# A built-in filter imports what any filter could: the façade, and packages that know no socket of a client. `http` and
# `webhooks` are for filters that use a service, `programs` for the one that runs programs, and `classic` for the one
# that runs the older project's filters.
FOR_FILTERS = {"", "base", "wire", "pipeline", "auth", "http", "programs", "webhooks", "classic", "filters"}

# Libraries that one part of fws alone may import: packages, or single modules.
ONLY_IN = {
    "geventwebsocket": {"server.handler"},
    "toml": {"config.loader"},
    "redis": {"redis", "storages.redis"},
    # `get_original` is for what must work while the event loop is blocked.
    "gevent.monkey": {"__main__", "runtime", "programs.spawn", "workers.heartbeat", "classic.server"},
    "urllib3": {"http.connection"},
    "prometheus_client": {"metrics.exposition"},
    "opentelemetry": {"tracing"},
    # They need names of constants; sockets come from gevent.
    "socket": {"clients.transport", "clients.tls_transport"},
    "_socket": {"clients.transport", "clients.tls_transport"},
}
# Packages that know no gevent, no socket and no clock of their own.
PURE = {"base", "wire", "transcripts", "pipeline", "config", "compiler", "auth", "api", "reference"}


class Import(NamedTuple):
    """One import statement: what is imported, and whether only for type annotations."""

    name: str
    typing_only: bool


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "templates" not in path.parts)


def dotted(path: Path) -> str:
    """`channels.hub` for fws/channels/hub.py, `channels` for its package, and "" for the façade."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(path) for path in modules()}


def imports(path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.unparse(branch.test)
        for statement in branch.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, id(node) in typing_only)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            for alias in node.names:
                yield Import(f"{node.module}.{alias.name}", id(node) in typing_only)


def own(name: str) -> str | None:
    """The module of fws that an imported name belongs to: "channels.hub" for `fws.channels.hub.Hub`."""
    if name.split(".")[0] != "fws":
        return None
    parts = name.split(".")[1:]
    while parts and ".".join(parts) not in NAMES:
        parts = parts[:-1]
    return ".".join(parts)


def package_of(module: str) -> str:
    return module.split(".")[0]


def internal(path: Path) -> set[str]:
    return {module for one in imports(path) if (module := own(one.name)) is not None}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    module = dotted(path)
    package = package_of(module)
    for target in internal(path):
        below = package_of(target)
        if package in FACADE_MODULES:
            assert below in FACADE, f"the façade imports {target}"
        elif below and below != package and module != "__main__":
            assert LEVEL[below] < LEVEL[package], f"{module} imports {target}, which is not below it"


def test_built_in_filters_import_only_what_any_filter_could() -> None:
    for path in modules():
        if package_of(dotted(path)) == "filters":
            found = {one for one in imports(path) if not one.typing_only}
            targets = {package_of(module) for one in found if (module := own(one.name)) is not None}
            assert targets <= FOR_FILTERS, f"{path.name} imports {targets - FOR_FILTERS}"


def test_sources_import_only_what_any_source_could() -> None:
    for path in modules():
        if package_of(dotted(path)) == "sources":
            targets = {package_of(module) for module in internal(path)}
            assert targets <= FOR_FILTERS | {"redis", "sources"}, f"{path.name} imports {targets - FOR_FILTERS}"


def test_no_imports_form_a_cycle() -> None:
    graph = {dotted(path): internal(path) - {dotted(path)} for path in modules()}
    # The façade is a list of names from below: whoever imports it can be imported by none of these.
    state: dict[str, int] = {}
    way: list[str] = []

    def visit(module: str) -> None:
        if state.get(module) == 2:
            return
        assert state.get(module) != 1, f"a cycle: {' -> '.join([*way[way.index(module) :], module])}"
        state[module] = 1
        way.append(module)
        for target in sorted(graph[module]):
            visit(target)
        way.pop()
        state[module] = 2

    for module in sorted(graph):
        visit(module)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_libraries_are_imported_where_they_belong(path: Path) -> None:
    module = dotted(path)
    for one in imports(path):
        for library, parts in ONLY_IN.items():
            if one.name == library or one.name.startswith(f"{library}."):
                assert module in parts or package_of(module) in parts, f"{module} imports {one.name}"
        if package_of(module) in PURE:
            assert one.name.split(".")[0] != "gevent", f"{module} is pure and imports {one.name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_about_one_thing(path: Path) -> None:
    lines = path.read_text().count("\n")
    assert lines <= MAX_LINES, f"{path.relative_to(ROOT)} has {lines} lines: does it hold more than one noun?"


def test_the_root_holds_little_more_than_the_public_names() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= MAX_ROOT_MODULES


def test_the_documentation_shows_the_same_table() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = [line for line in page.splitlines() if re.match(r"\| [0-9]+ \|", line)]
    shown = [set(re.findall(r"`([a-z_]+)/?`", row.split("|")[2])) for row in rows]
    assert shown == LAYERS[::-1]


def test_the_facade_comes_before_patching() -> None:
    """`import fws` must not load modules that must be loaded after gevent has patched the standard library."""
    late = "{'gevent', 'socket', 'ssl', 'select', 'threading', 'subprocess', 'redis', 'urllib3'}"
    script = f"import sys, fws; print(sorted({late} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_the_facade_exports_its_names() -> None:
    import fws

    for name in fws.__all__:
        assert getattr(fws, name) is not None
