"""The Procfile as a platform runs it: two web processes of two workers each, and messages cross through Redis."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from websockets.sync.client import ClientConnection, connect

from tests.integration.conftest import ROOT
from tests.integration.redis_server import RedisServer


def two_free_ports() -> int:
    """The first of two free consecutive ports, which `honcho` uses."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("", 0))
            port: int = one.getsockname()[1]
            try:
                two.bind(("", port + 1))
            except OSError:
                continue
            return port


def said(client: ClientConnection, text: str) -> None:
    """Wait until the client gets this message."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        message = json.loads(client.recv(timeout=10))
        if message.get("message", {}).get("text") == text:
            return
    raise AssertionError(f"{text!r} did not arrive")


def test_two_web_processes_are_one_chat_and_leave_in_order(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path / "redis")
    port = two_free_ports()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FWS_")}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "REDIS_URL": redis.url,
        "WEB_CONCURRENCY": "2",
    }
    command = [sys.executable, "-m", "honcho", "--no-colour", "start", "--port", str(port), "-c", "web=2"]
    # Its standard error is where the log goes, its standard output where the banner does.
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output = bytearray()

    def read() -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                output.extend(line)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        until = time.monotonic() + 30
        while output.count(b") serves") < 4:
            assert time.monotonic() < until, output.decode()
            time.sleep(0.05)
        with connect(f"ws://127.0.0.1:{port}/") as ann, connect(f"ws://127.0.0.1:{port + 1}/") as bob:
            # Until the nodes have subscribed, a message of another node passes them by.
            while redis.say("PUBSUB", "NUMSUB", "fws:lobby")[1] != 2:
                time.sleep(0.05)
            ann.send("hello from the first")
            said(bob, "hello from the first")
            bob.send("hello from the second")
            said(ann, "hello from the second")
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        reader.join(10)
        assert time.monotonic() - begin < 30
    finally:
        process.kill()
        process.wait()
        reader.join(10)
        redis.kill()
    told = output.decode()
    for web in ("web.1", "web.2"):
        assert re.search(rf"{web}.*\[1\] stopped", told), told
        assert re.search(rf"{web}.*\[2\] stopped", told), told
        assert re.search(rf"{web} .*info    stopped", told), told
    assert "Traceback" not in told
