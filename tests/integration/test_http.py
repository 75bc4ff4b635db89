"""The example of docs/http.md, and what a server without such filters does not pay for."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time

from websockets.sync.client import connect

from tests.integration.conftest import ROOT, Running
from tests.integration.operator import asked

PROGRAM = """
import sys
from gevent import monkey; monkey.patch_all()
from fws.compiler.compile import load_generation
from fws.server.server import Server
for toml in sys.argv[1:]:
    load_generation(toml)
print("urllib3" in sys.modules)
"""


def test_the_example_runs_as_its_page_says() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    service = subprocess.Popen([sys.executable, "conf/http/service.py", str(port)], cwd=ROOT, stderr=subprocess.DEVNULL)
    environ = {"SERVICE_URL": f"http://127.0.0.1:{port}/"}
    server = Running(["run", "conf/http.toml", "--listen", "127.0.0.1:0"], ROOT, environ)
    try:
        server.ready()
        until = time.monotonic() + 10
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.02)
        with connect(server.url(), proxy=None) as client:
            assert asked(client, "hello") == "hello"
            assert re.fullmatch("rolls a [1-6]", asked(client, "/roll"))
            assert asked(client, "buy now") == "No advertising, please."
            service.kill()
            service.wait()
            assert asked(client, "hello") == '{"error":"the service is not available"}'
        assert re.search(r"the service at http://127\.0\.0\.1:\d+/: Connection refused", server.output)
        assert server.stop() == 0
    finally:
        service.kill()
        service.wait()
        server.end()


def test_only_a_server_that_asks_loads_the_library() -> None:
    def loads(*confs: str) -> bool:
        command = [sys.executable, "-c", PROGRAM, *confs]
        environ = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
        return done.stdout == "True\n"

    assert not loads("conf/echo.toml", "conf/chat.toml")
    assert loads("conf/http.toml")
