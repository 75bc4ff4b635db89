"""What a result was measured with: commit, date, machine and versions."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from servers import HERE, NODE_MODULES, PEERS_PYTHON, Server


def output(*command: str) -> str:
    """Standard output and standard error of a command; empty if the command does not exist."""
    try:
        done = subprocess.run(command, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except OSError:
        return ""
    return done.stdout.strip()


def commit() -> str:
    """The commit that was measured, followed by "with changes" if files of the engine differ from it."""
    changed = output("git", "status", "--porcelain", "--", "../fws")
    return output("git", "rev-parse", "--short=10", "HEAD") + (" with changes" if changed else "")


def description() -> dict[str, Any]:
    cpuinfo = Path("/proc/cpuinfo").read_text()
    processor = next(
        (line.split(":")[1].strip() for line in cpuinfo.splitlines() if line.startswith("model name")),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": processor,
        "processors": os.cpu_count(),
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def versions(servers: Iterable[Server]) -> dict[str, str]:
    """For each server that consists of installed packages, their versions."""
    installed = {}
    if PEERS_PYTHON.exists():
        listed = output(str(PEERS_PYTHON), "-m", "pip", "--disable-pip-version-check", "list", "--format", "json")
        installed = {package["name"].lower(): package["version"] for package in json.loads(listed)}
    found = {}
    for server in servers:
        parts = [f"{name} {installed.get(name, '?')}" for name in server.python]
        for name in server.node:
            package = json.loads((NODE_MODULES / name / "package.json").read_text())
            parts.append(f"{name} {package['version']}")
        if server.node:
            parts.append(f"node {output('node', '--version')}")
        if server.debian:
            parts.append(output("/usr/sbin/nginx", "-v").removeprefix("nginx version: "))
        if server.name == "fws":
            parts = [f"{name} {version(name)}" for name in ("fws", "gevent", "websockets", "msgspec")]
        if parts:
            found[server.name] = ", ".join(parts)
    return found


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
