"""The examples of docs/clients.md are run against a real server."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import jwt
import pytest
from websockets.sync.client import connect

from tests.integration.conftest import ROOT, Serve
from tests.test_docs import blocks

PAGE = ROOT / "docs" / "clients.md"
KEY = "k" * 32

pytestmark = pytest.mark.process


def block(language: str, text: str) -> str:
    """The only block with a text in it."""
    (only,) = (one for one in blocks(PAGE, language) if text in one)
    return only


def test_the_sdk_for_python_publishes_and_asks(serve: Serve, tmp_path: Path) -> None:
    server = serve(block("toml", "# conf/app.toml"), JWT_KEY=KEY)
    (tmp_path / "client.py").write_text(block("python", "# client.py"))
    token = jwt.encode({"sub": "ann", "exp": int(time.time()) + 60}, KEY, "HS256")
    script = f"import asyncio, client; asyncio.run(client.main({server.url('/connection/websocket')!r}))"
    environ = os.environ | {"CHAT_TOKEN": token}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert "ann {'text': 'hello'}" in done.stdout
    assert "PresenceResult(" in done.stdout
    assert "user='ann'" in done.stdout


def test_curl_follows_a_channel_and_recovers(serve: Serve) -> None:
    conf = block("toml", "# conf/feed.toml")
    server = serve(conf.replace("\n\n[channels", '\nmessage = ["publish {channel}"]\n\n[channels'))
    (command,) = re.findall(r"^    (curl -N .*)$", PAGE.read_text(), re.MULTILINE)
    words = shlex.split(command.replace("http://localhost:9000", server.page))
    with subprocess.Popen([*words, "--silent"], stdout=subprocess.PIPE, text=True) as curl:
        assert curl.stdout is not None
        try:
            first = curl.stdout.readline()
            assert re.fullmatch(r"id: \S+:0\n", first)
            curl.stdout.readline()
            with connect(server.url("/feed/news")) as socket:
                socket.send('{"text":"the shop opens"}')
                event = [curl.stdout.readline(), curl.stdout.readline()]
                assert re.fullmatch(r"id: \S+:1\n", event[0])
                assert event[1] == 'data: {"text":"the shop opens"}\n'
        finally:
            curl.kill()
    again = subprocess.Popen(
        [*words, "--silent", "-H", f"Last-Event-ID: {first[4:-1]}"], stdout=subprocess.PIPE, text=True
    )
    with again:
        assert again.stdout is not None
        try:
            assert [again.stdout.readline(), again.stdout.readline()] == event
        finally:
            again.kill()
