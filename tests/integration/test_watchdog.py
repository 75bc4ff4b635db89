"""A filter that blocks the event loop is named while it does, and so is one that blocks despite `waits = False`."""

from __future__ import annotations

import signal
import time

import pytest
from websockets.sync.client import connect

from tests.integration.conftest import Serve
from tests.integration.raw import TEXT, Raw

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
        while attempts < 5 and "is blocked" not in server.output:
            attempts += 1
            client.send(f"{kind} 0.8")
            assert client.recv() == f"{kind} 0.8"
        told = server.wait_for(
            r"warning +the event loop is blocked for (\d+) ms by message: .*hold\.Hold\.message.*hold\.py:\d+"
        )
        assert int(told[1]) >= 100
    assert server.output.count("is blocked") <= 3 * attempts


def test_it_is_named_while_it_holds_the_loop(serve: Serve) -> None:
    server = serve(TOML, pipelines={"hold": HOLD})
    with connect(server.url()) as client:
        client.send("compute 4")
        server.wait_for("the event loop is blocked for", timeout=3)
        server.wait_for("the event loop is still blocked for", timeout=3)
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
    assert "is blocked" not in server.output


def test_a_filter_that_breaks_its_promise_is_named_and_holds_nobody_up(serve: Serve) -> None:
    source = """
import time
from fws import Filter


class Hasty(Filter):
    waits = False

    def message(self, client, message):
        if message == "sleep":
            time.sleep(3600)
"""
    server = serve('[pipelines]\nmessage = ["hasty", "echo"]\n', pipelines={"hasty": source})
    with server.connect() as sock:
        raw = Raw(sock)
        raw.send(TEXT, b"sleep")
        raw.send(TEXT, b"still here")
        assert raw.receive() == (TEXT, b"still here")
    server.wait_for(
        r"message failed in (\S+\.)?hasty\.Hasty\.message \(hasty\.py:11.*\) for client \S+: "
        r"it waits, though its filter promises `waits = False`"
    )
    assert "Traceback" not in server.output
