"""The examples of docs/deploy.md are run: proxies in front of a real server, and the commands of the unit and the
container.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from fws.config import Server
from tests.cli.command import environment
from tests.integration.conftest import ROOT, Running, Serve
from tests.integration.redis_server import RedisServer, free_port
from tests.test_docs import blocks

PAGE = ROOT / "docs" / "deploy.md"
SEARCH = os.environ["PATH"] + os.pathsep + "/usr/sbin"


def block(language: str) -> str:
    (only,) = blocks(PAGE, language)
    return only


def replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"{old!r} in\n{text}"
    return text.replace(old, new)


@pytest.fixture
def program() -> Iterator[Callable[..., None]]:
    """`program(name, *arguments, port=…)` runs a program until the end of the test, and waits until it answers."""
    started = []

    def start(name: str, *arguments: str, port: int) -> None:
        path = shutil.which(name, path=SEARCH)
        assert path, f"{name} is missing: `make programs` installs it"
        process = subprocess.Popen([path, *arguments], stdin=subprocess.DEVNULL)
        started.append(process)
        until = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                assert process.poll() is None, f"{name} ended with {process.returncode}"
                assert time.monotonic() < until, f"{name} does not answer"
                time.sleep(0.05)

    yield start
    for process in started:
        process.terminate()
        process.wait(10)


def chats_through(port: int) -> None:
    """The page and the chat of conf/chat.toml, requested like by a browser."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as page:
        assert b"<html" in page.read()
    with connect(f"ws://127.0.0.1:{port}/", origin=Origin(f"http://127.0.0.1:{port}")) as client:
        assert json.loads(client.recv(timeout=10))["type"] == "welcome"
        client.send("through the proxy")
        answers = (json.loads(client.recv(timeout=10)) for _ in range(5))
        assert next(one for one in answers if "message" in one)["message"]["text"] == "through the proxy"
        client.close(1000)
        assert client.close_code == 1000
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://127.0.0.1:{port}/", origin=Origin("http://elsewhere.example"))


def votes_through(port: int) -> None:
    """A vote in conf/centrifuge.toml over HTTP streaming: each line arrives at once, and commands reach the client."""
    url = f"http://127.0.0.1:{port}"
    headers = {"Content-Type": "application/json", "Origin": url}
    request = urllib.request.Request(f"{url}/connection/http_stream", b'{"id":1,"connect":{}}', headers)
    with urllib.request.urlopen(request, timeout=10) as stream:
        connected = json.loads(stream.readline())["connect"]
        for command in ({"subscribe": {"channel": "poll"}}, {"publish": {"channel": "poll", "data": {"vote": "tea"}}}):
            line = json.dumps({"id": 2, **command})
            body = {"session": connected["session"], "node": connected["node"], "data": line}
            emulated = urllib.request.Request(f"{url}/emulation", json.dumps(body).encode(), headers)
            with urllib.request.urlopen(emulated, timeout=10) as answer:
                assert answer.status == 204
        assert "subscribe" in json.loads(stream.readline())
        push = json.loads(stream.readline())["push"]
        assert push.get("pub", {}).get("data", {}).get("vote") == "tea" or "join" in push


def nginx_at(port: int, server: int, folder: Path, program: Callable[..., None]) -> None:
    """nginx, as docs/deploy.md has it, in front of a server."""
    shown = replaced(block("nginx"), "server 127.0.0.1:9000;", f"server 127.0.0.1:{server};")
    shown = replaced(shown, "listen 80;", f"listen 127.0.0.1:{port};")
    places = "".join(f"{kind}_temp_path {kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    conf = folder / "nginx.conf"
    conf.write_text(
        f"daemon off;\npid nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{places}{shown}}}\n"
    )
    program("nginx", "-p", str(folder), "-c", str(conf), "-e", "stderr", port=port)


def haproxy_at(port: int, server: int, folder: Path, program: Callable[..., None]) -> None:
    """HAProxy, as docs/deploy.md has it, in front of a server."""
    shown = replaced(block("haproxy"), "server one 127.0.0.1:9000 check", f"server one 127.0.0.1:{server} check")
    conf = folder / "haproxy.cfg"
    conf.write_text(replaced(shown, "bind :80", f"bind 127.0.0.1:{port}"))
    program("haproxy", "-db", "-f", str(conf), port=port)


@pytest.mark.parametrize("proxy", [nginx_at, haproxy_at])
@pytest.mark.parametrize(("conf", "works"), [("chat", chats_through), ("centrifuge", votes_through)])
def test_a_proxy_in_front(
    serve: Serve,
    program: Callable[..., None],
    tmp_path: Path,
    proxy: Callable[..., None],
    conf: str,
    works: Callable[[int], None],
) -> None:
    server = serve(ROOT / "conf" / f"{conf}.toml")
    port = free_port()
    proxy(port, server.port, tmp_path, program)
    works(port)


def command_of(line: str, listen: str = "") -> list[str]:
    """The arguments of an `fws` command in the docs, with an address of the test."""
    word, *arguments = shlex.split(line)
    assert Path(word).name == "fws"
    if "--listen" in arguments:
        arguments[arguments.index("--listen") + 1] = listen
    return arguments


def test_the_systemd_unit(tmp_path: Path) -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(block("ini"))
    service = unit["Service"]
    assert int(service["TimeoutStopSec"]) > Server().drain
    # The supervisor alone gets SIGTERM, and what is left in the end goes with it.
    assert service["KillMode"] == "mixed"
    assert service["RestartPreventExitStatus"] == "78"
    assert service["RuntimeDirectory"] == "fws"
    redis = RedisServer(tmp_path / "redis")
    assert service["Environment"].startswith("REDIS_URL=redis://")
    environ = {"REDIS_URL": redis.url, "FWS_LISTEN": "127.0.0.1:0", "RUNTIME_DIRECTORY": str(tmp_path)}
    server = Running(command_of(service["ExecStart"]), ROOT, environ)
    try:
        server.wait_for(r"open +http://127.0.0.1:\d+/")
        reload = [sys.executable, "-m", "fws", *command_of(service["ExecReload"])]
        done = subprocess.run(
            reload, cwd=ROOT, env=environment(**environ), capture_output=True, text=True, timeout=60, check=True
        )
        assert "nothing has changed" in done.stdout
        assert server.stop() == 0
    finally:
        server.end()
        redis.kill()


def test_the_container_has_all_that_its_command_needs(tmp_path: Path) -> None:
    """Docker itself is not run. The files that it would copy are run with the command of the container."""
    shown = block("dockerfile")
    for sources, target in re.findall(r"^COPY (.+) (\S+)$", shown, re.MULTILINE):
        for source in sources.split():
            path = ROOT / source
            if path.is_dir():
                shutil.copytree(path, tmp_path / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(path, tmp_path / target)
    built = subprocess.run([sys.executable, "setup.py", "--name"], cwd=tmp_path, capture_output=True, text=True)
    assert built.stdout.strip().endswith("fws"), built.stderr
    found = re.search(r"^CMD (\[.*\])$", shown, re.MULTILINE)
    assert found
    command = command_of(shlex.join(json.loads(found[1])), "127.0.0.1:0")
    server = Running(command, tmp_path, {"PYTHONPATH": str(tmp_path)})
    try:
        server.wait_for(r"open +http://127.0.0.1:\d+/")
        assert server.stop() == 0
    finally:
        server.end()
