"""Serve with the installed package, in an environment that has nothing but fws: `python -I installed.py compiled|pure`.

With -I, packages beside this file such as tests/http do not hide the standard library. It is run by tests/test_dist.py,
and by cibuildwheel with each wheel.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from websockets.sync.client import connect

CONF = """
[endpoints."/"]
message = ["upper", "echo"]
"""
FILTER = """
from fws import Filter


class Upper(Filter):
    \"\"\"Answer in upper case.\"\"\"

    def message(self, client, message):
        return message.upper()
"""


def main(kind: str) -> None:
    if kind == "compiled":
        importlib.import_module("fws._native")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pipelines").mkdir()
        (folder / "pipelines" / "upper.py").write_text(FILTER)
        (folder / "app.toml").write_text(CONF)
        fws = [sys.executable, "-m", "fws"]
        version = subprocess.run([*fws, "--version"], cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout
        assert kind in version, version
        serve = [*fws, "run", "app.toml", "--listen", "127.0.0.1:0"]
        with subprocess.Popen(serve, cwd=folder, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            try:
                lines = iter(server.stdout.readline, "")
                url = next(found[1] for line in lines if (found := re.search(r"connect +(ws://\S+)", line)))
                with connect(url, proxy=None) as client:
                    client.send("hello")
                    assert client.recv(timeout=10) == "HELLO"
            finally:
                server.terminate()
            assert server.wait(30) == 0
    print(version.strip())


if __name__ == "__main__":
    main(sys.argv[1])
