"""Programs that tests start, such as nginx with ops/nginx.conf."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.integration.conftest import ROOT
from tests.integration.redis_server import free_port

SEARCH = os.environ["PATH"] + os.pathsep + "/usr/sbin"


class Programs:
    """Started programs, which `end` ends."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, command: Sequence[str], *, port: int, **environ: str) -> None:
        """Start a program, and wait until it answers at a port of this machine."""
        path = shutil.which(command[0], path=SEARCH)
        assert path, f"{command[0]} is missing: `make programs` installs it"
        process = subprocess.Popen([path, *command[1:]], stdin=subprocess.DEVNULL, env=os.environ | environ)
        self._started.append(process)
        until = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
                assert time.monotonic() < until, f"{command[0]} does not answer"
                time.sleep(0.05)

    def end(self) -> None:
        for process in self._started:
            process.terminate()
            process.wait(10)


def replaced(text: str, old: str, new: str) -> str:
    """The text with the only occurrence of `old` replaced."""
    assert text.count(old) == 1, f"{old!r} in\n{text}"
    return text.replace(old, new)


def nginx_of(folder: Path, nodes: Mapping[str, int], programs: Programs) -> int:
    """Start nginx with ops/nginx.conf in front of nodes on this machine. Returns its port.

    Args:
        folder: takes the place of /tmp.
        nodes: the port of each node that the file names.
    """
    port = free_port()
    text = (ROOT / "ops" / "nginx.conf").read_text()
    for name, at in nodes.items():
        text = replaced(text, f"server {name} ", f"server 127.0.0.1:{at} ")
    text = replaced(text, "listen 8080;", f"listen 127.0.0.1:{port};").replace(" /tmp/", f" {folder}/")
    conf = folder / "nginx.conf"
    conf.write_text(text)
    arguments = ["-p", str(folder), "-c", str(conf), "-e", "stderr"]
    checked = subprocess.run(
        [shutil.which("nginx", path=SEARCH) or "nginx", *arguments, "-t"], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    programs.start(["nginx", *arguments, "-g", "daemon off;"], port=port)
    return port
