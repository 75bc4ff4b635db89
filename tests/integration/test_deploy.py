"""The proxies of ops/ in front of a real server."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.integration.conftest import ROOT, Serve
from tests.integration.redis_server import free_port
from tests.ops.programs import Programs, nginx_of, replaced


@pytest.fixture
def programs() -> Iterator[Programs]:
    programs = Programs()
    yield programs
    programs.end()


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


def nginx_at(server: int, folder: Path, programs: Programs) -> int:
    """nginx in front of a server, which stands for both nodes of its file. Returns the port."""
    return nginx_of(folder, {"one:9000": server, "two:9000": server}, programs)


def haproxy_at(server: int, folder: Path, programs: Programs) -> int:
    """HAProxy in front of a server. Returns the port."""
    port = free_port()
    text = (ROOT / "ops" / "haproxy.cfg").read_text()
    text = replaced(text, "server one 127.0.0.1:9000 check", f"server one 127.0.0.1:{server} check")
    conf = folder / "haproxy.cfg"
    conf.write_text(replaced(text, "bind :80", f"bind 127.0.0.1:{port}"))
    programs.start(["haproxy", "-db", "-f", str(conf)], port=port)
    return port


@pytest.mark.parametrize("proxy", [nginx_at, haproxy_at])
@pytest.mark.parametrize(("conf", "works"), [("chat", chats_through), ("centrifuge", votes_through)])
def test_a_proxy_in_front(
    serve: Serve,
    programs: Programs,
    tmp_path: Path,
    proxy: Callable[[int, Path, Programs], int],
    conf: str,
    works: Callable[[int], None],
) -> None:
    server = serve(ROOT / "conf" / f"{conf}.toml")
    works(proxy(server.port, tmp_path, programs))
