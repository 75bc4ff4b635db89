"""Imports point down only, and the façade loads nothing that patching would come too late for."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fws"

# docs/architecture.md shows the same table.
LAYERS = [
    {"errors", "problem", "units", "variables", "constants"},
    {
        "filter", "registry", "stage", "options", "pipeline", "condition", "request", "message",
        "publication", "metrics", "log", "native", "protocol", "alarms", "board",
    },
    {"config", "compiler", "generation", "endpoint", "filled", "reference", "brokers", "storages",
     "classic", "auth"},
    {"client", "connection", "channel", "hub", "gate", "outbox", "transport", "tls", "watchdog", "sweeper", "loop",
     "crew", "sockets", "faults", "link", "classic.redis_storage", "brokers.redis", "brokers.relay", "brokers.sender",
     "brokers.sentinel",
     "brokers.ask", "brokers.single", "brokers.cluster", "storages.redis"},
    {"handler", "listener", "web"},
    {"server", "pulse", "supervisor", "workers", "classic.server"},
    {"cli", "__main__"},
]  # fmt: skip
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

# Packages that one part of fws alone may import.
ONLY_IN = {
    "geventwebsocket": {"handler"},
    "toml": {"config"},
    "gevent": {
        "classic.server",  # patches, as a script's first import
        "client",
        "connection",
        "crew",
        "faults",
        "hub",
        "transport",
        "tls",
        "watchdog",
        "sweeper",
        "loop",
        "link",
        "brokers.relay",
        "brokers.sender",
        "brokers.single",
        "brokers.cluster",
        "storages.redis",
        "handler",
        "listener",
        "sockets",
        "server",
        "pulse",
        "workers",
        "cli",
        "__main__",
    },
    "redis": {"link", "storages.redis"},
    "socket": {"transport"},  # the names of its constants; sockets come from gevent
    "_socket": {"transport"},
}


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "template" not in path.parts)


def part_of(path: Path) -> str:
    """`hub` for fws/hub.py, `config` for fws/config/loader.py, `fws` for the façade."""
    relative = path.relative_to(PACKAGE)
    return (
        "fws" if relative.name == "__init__.py" and len(relative.parts) == 1 else named(relative.with_suffix("").parts)
    )


def named(parts: Sequence[str]) -> str:
    """The part that a module belongs to: its package, unless the table has the module itself."""
    own = ".".join(parts[:2])
    return own if own in LEVEL else parts[0]


def imports(path: Path) -> list[str]:
    """Dotted names imported at run time: what stands under `if TYPE_CHECKING` costs nothing."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.unparse(branch.test)
        for statement in branch.body
        for node in ast.walk(statement)
    }
    found = []
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found += [node.module or ""]
            if node.module == "fws":
                found += [f"fws.{alias.name}" for alias in node.names if (PACKAGE / f"{alias.name}.py").exists()]
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    part = part_of(path)
    for name in imports(path):
        if not name.startswith("fws."):
            continue
        target = named(name.split(".")[1:])
        if target == "filters":
            assert part in ("filters", "registry"), f"{part} imports {name}: filters are found by name"
        elif part == "filters":
            assert LEVEL[target] <= 2, f"a built-in filter imports {name}"
        elif part == "fws":
            assert LEVEL[target] <= 1, f"the façade imports {name}"
        else:
            assert LEVEL[target] <= LEVEL[part], f"{part} (layer {LEVEL[part]}) imports {name} (layer {LEVEL[target]})"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_packages_are_imported_where_they_belong(path: Path) -> None:
    for name in imports(path):
        package = name.split(".")[0]
        if package in ONLY_IN:
            assert part_of(path) in ONLY_IN[package], f"{path.name} imports {name}"


def test_the_facade_comes_before_patching() -> None:
    """A filter module may be imported by anything; `import fws` must not load what patching would miss."""
    late = "{'gevent', 'socket', 'ssl', 'select', 'threading', 'subprocess', 'redis'}"
    script = f"import sys, fws; print(sorted({late} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_the_facade_exports_what_it_says() -> None:
    import fws

    for name in fws.__all__:
        assert getattr(fws, name) is not None
