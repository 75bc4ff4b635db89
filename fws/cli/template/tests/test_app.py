"""The server of conf/app.toml as its clients see it: a process of its own, on a free port."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.sync.client import connect

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def url():
    command = [sys.executable, "-m", "fws", "run", "conf/app.toml", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as server:
        # The banner says which port is the free one.
        address = next((found for line in server.stdout if (found := re.search(r"ws://(\S+)/", line))), None)
        assert address, "the server did not start"
        yield f"ws://{address[1]}/"
        server.terminate()


def test_greets_whoever_sends_a_name(url):
    with connect(url, proxy=None) as client:
        client.send("Ada")
        assert client.recv(timeout=5) == "Hello, Ada!"


def test_leaves_bytes_alone(url):
    with connect(url, proxy=None) as client:
        client.send(b"\x00\x01")
        assert client.recv(timeout=5) == b"\x00\x01"
