"""Install what the benchmark needs in addition to fws: the tools in C, and the peers, all under build/."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from servers import BUILD, CERTIFICATE, HERE, KEY, NODE_MODULES, PEERS_PYTHON, Server

LONGEST = 600  # seconds for one installation


def build_tools() -> None:
    """Compile the load generator and the C limit, unless they are newer than their source."""
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in ("wsload", "wslimit"):
        source, target = HERE / f"{name}.c", BUILD / name
        if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
            command = ["cc", "-O2", "-Wall", "-Wextra", "-o", str(target), str(source)]
            if name != "wsload" or not compiles([*command, "-DTLS", "-lssl", "-lcrypto"]):
                subprocess.run(command, check=True)


def compiles(command: list[str]) -> bool:
    """Whether this command compiles. It fails without OpenSSL's headers; the subject `tls` then fails and says so."""
    return subprocess.run(command, capture_output=True).returncode == 0


def make_certificate() -> None:
    """Create the servers' certificate: self-signed, with a P-256 key, the most common kind."""
    if not CERTIFICATE.exists():
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650"]
        names = ["-subj", "/CN=localhost", "-keyout", str(KEY), "-out", str(CERTIFICATE)]
        quietly(["openssl", "req", "-x509", *kind, *names])


def install(servers: Iterable[Server]) -> list[Server]:
    """Install what is missing. Prints one line for each server that cannot be installed, and returns the others."""
    installed = []
    for server in servers:
        try:
            for packages, step in ((server.python, pip), (server.node, npm)):
                if packages:
                    once(server.name, packages, step)
            if server.debian and not Path(server.shown_by).exists():
                apt(server.debian)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"left out: {server.name} could not be installed ({reason(error)})", file=sys.stderr)
        else:
            installed.append(server)
    return installed


def once(name: str, packages: tuple[str, ...], step: Callable[[tuple[str, ...]], None]) -> None:
    """Run the step, unless it has already been run for these packages."""
    stamp = BUILD / f"{name}.installed"
    if stamp.exists() and stamp.read_text().split() == list(packages):
        return
    print(f"installing {' '.join(packages)}", file=sys.stderr)
    step(packages)
    stamp.write_text("\n".join(packages))


def pip(packages: tuple[str, ...]) -> None:
    if not PEERS_PYTHON.exists():
        quietly([sys.executable, "-m", "venv", str(PEERS_PYTHON.parent.parent)])
    quietly([str(PEERS_PYTHON), "-m", "pip", "install", "--disable-pip-version-check", *packages])


def npm(packages: tuple[str, ...]) -> None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise FileNotFoundError("node and npm are not installed")
    quietly(["npm", "install", "--silent", "--prefix", str(NODE_MODULES.parent), *packages])


def apt(packages: tuple[str, ...]) -> None:
    if os.geteuid() != 0:
        raise PermissionError(f"only root can install {' '.join(packages)}")
    # In runlevel 1, an installed server is not started as a service.
    settings = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    quietly(["apt-get", "update"], settings)
    quietly(["apt-get", "install", "--yes", "--no-install-recommends", *packages], settings)


def quietly(command: list[str], settings: dict[str, str] | None = None) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=LONGEST, env=settings)


def reason(error: Exception) -> str:
    """The last line that a failed command wrote, or the error itself."""
    lines = (getattr(error, "stderr", None) or "").strip().splitlines()
    return lines[-1] if lines else str(error)
