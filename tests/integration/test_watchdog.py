"""What holds the loop is named while it does; and a stuck log stops nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.integration.conftest import ROOT, Serve

HOLD = """
import re
import time
from gevent.monkey import get_original
from fws import Filter


class Hold(Filter):
    def message(self, client, message):
        kind, seconds = message.split()
        until = time.monotonic() + float(seconds)
        if kind == "compute":
            while time.monotonic() < until:
                pass
        elif kind == "block":
            get_original("time", "sleep")(float(seconds))
        elif kind == "regex":
            while time.monotonic() < until:
                re.match(r"(a+)+$", "a" * 23 + "b")
        else:
            time.sleep(float(seconds))
"""
TOML = '[limits]\nmax_block = "100ms"\n[pipelines]\nmessage = ["hold", "echo"]\n'


@pytest.mark.parametrize("kind", ["compute", "block", "regex"])
def test_a_filter_that_holds_the_loop_is_named_with_its_stack(serve: Serve, kind: str) -> None:
    server = serve(TOML, pipelines={"hold": HOLD})
    with connect(server.url()) as client:
        # On a machine that has no time for the process nobody is blamed: then it is asked again.
        attempts = 0
        while attempts < 5 and "is held" not in server.output:
            attempts += 1
            client.send(f"{kind} 0.8")
            assert client.recv() == f"{kind} 0.8"
        told = server.wait_for(
            r"warning +the loop is held for (\d+) ms by message: .*hold\.Hold\.message.*hold\.py:\d+"
        )
        assert int(told[1]) >= 100
    assert server.output.count("is held") <= 3 * attempts


def test_it_is_named_while_it_holds_the_loop(serve: Serve) -> None:
    server = serve(TOML, pipelines={"hold": HOLD})
    with connect(server.url()) as client:
        client.send("compute 4")
        server.wait_for("the loop is held for", timeout=3)
        server.wait_for("the loop is still held for", timeout=3)
        assert client.recv() == "compute 4"


def test_a_filter_that_waits_is_not(serve: Serve) -> None:
    server = serve(TOML, pipelines={"hold": HOLD})
    with connect(server.url()) as client:
        client.send("wait 0.6")
        assert client.recv() == "wait 0.6"
    # Nor is the process blamed for a time in which it was stopped.
    server.signal(signal.SIGSTOP)
    time.sleep(0.5)
    server.signal(signal.SIGCONT)
    with connect(server.url()) as client:
        client.send("wait 0.1")
        assert client.recv() == "wait 0.1"
    assert "is held" not in server.output


def test_a_log_pipe_that_nobody_reads_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[pipelines]\nmessage = ["log", "echo"]\n')
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "fws", "run", "a.toml", "--listen", "127.0.0.1:0"]
    environ = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=writing) as process:
        try:
            assert process.stdout is not None
            url = ""
            while not url:
                line = process.stdout.readline().decode()
                url = line.split()[1] if "connect" in line else ""
            with connect(url) as client:
                for number in range(200):
                    # Each message is a line, until the pipe of 64 KiB is full and beyond.
                    message = f"{number} " + "x" * 3000
                    client.send(message)
                    assert client.recv(timeout=10) == message
                os.set_blocking(writing, False)
                try:
                    while os.write(writing, b"x" * 4096):
                        pass
                except BlockingIOError:
                    pass
                client.send("still here")
                assert client.recv(timeout=10) == "still here"
            process.terminate()
            assert process.wait(10) == 0
        finally:
            process.kill()
            os.close(reading)
            os.close(writing)
