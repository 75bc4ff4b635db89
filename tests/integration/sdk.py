"""What the tests of SDKs share: the file of their server, and scenarios in JavaScript that node runs."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Callable
from typing import Any

from tests.cli.command import environment
from tests.integration.conftest import ROOT

SDK = ROOT / "tests" / "sdk"
KEY = "the-key-of-the-tests-of-the-sdks"
TRANSPORTS = ("websocket", "sse", "http_stream")
CONF = """
[redis]
url = "${REDIS_URL:-}"

[api]
key = "${KEY}"
path = "/api"

# A client that does not answer pings is disconnected before the longest scenario ends.
[limits]
clients_per_user = 1000
ping_interval = "1s"
ping_timeout = "3s"

[filters.login]
use = "jwt"
algorithm = "HS256"
key = "${KEY}"
required = ["sub", "exp"]
warn = "2s"

[filters.pass]
use = "jwt"
algorithm = "HS256"
key = "${KEY}"
warn = "2s"

[chains]
calls = ["heard", "when call.kind != 'rpc' or call.method == 'echo'"]

[endpoints."/open/{transport}"]
protocol = "centrifuge"
message = ["calls"]

[endpoints."/data/{transport}"]
protocol = "centrifuge"
connect = ["require call.data.word == 'sesame'"]

[endpoints."/connection/{transport}"]
protocol = "centrifuge"
connect = ["login", "join user:{identity.user}", "join news"]
message = ["calls"]

[endpoints."/tokens/{transport}"]
protocol = "centrifuge"
connect = ["login"]
subscribe = ["pass"]

[channels."chat:{name}"]
history = 5000
presence = true
announce = true
presence_info = ["identity.user"]
subscribe = "identity.user != null"
publish = "identity.user != null"

[channels."short:{name}"]
history = 5
subscribe = "identity.user != null"
publish = "identity.user != null"

[channels."bare:{name}"]
subscribe = "identity.user != null"
publish = "identity.user != null"

[channels."user:{name}"]
history = 100
publish = "identity.user == 'backend'"

[channels."claimed:{name}"]
publish = "identity.user == 'backend'"

[channels."given:{name}"]
history = 100

[channels."news"]
history = 10
"""
# What a client sends comes back as a message, because nothing else would show that it has arrived.
PIPELINES = {
    "heard": """
from fws import Filter


class Heard(Filter):
    def message(self, client, message):
        if client.call.kind == "send":
            client.send({"heard": message})
"""
}


def scenarios(*modules: str) -> list[str]:
    """The names of the scenarios in modules of tests/sdk."""
    text = "".join((SDK / f"{module}.mjs").read_text() for module in modules)
    return re.findall(r"^export async function (\w+)\(scene\)", text, re.MULTILINE)


class Node:
    """A script in tests/sdk that runs in node, and tells what it does in lines of JSON.

    Args:
        arguments: the script and its arguments.
        answer: answers what it asks for, as `{"ask": …}`.
    """

    def __init__(self, *arguments: str, answer: Callable[[Any], Any] = lambda request: None) -> None:
        self._answer = answer
        self.told: list[dict[str, Any]] = []
        self._more = threading.Condition()
        self.process = subprocess.Popen(
            ["node", "--no-warnings", *arguments],  # older ones warn about the SDK
            cwd=SDK,
            env=environment(KEY=KEY),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                told = json.loads(line)
            except ValueError:
                told = {"fault": line}
            if "ask" in told:
                self.say(self._answer(told["ask"]))
                continue
            with self._more:
                self.told.append(told)
                self._more.notify_all()

    def say(self, value: Any) -> None:
        """Send it a line of JSON."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(value) + "\n")
        self.process.stdin.flush()

    def until(self, holds: Callable[[list[dict[str, Any]]], Any], timeout: float = 30) -> Any:
        """Wait until `holds` returns something true for what was told, and return that."""
        with self._more:
            self._more.wait_for(lambda: holds(self.told), timeout)
            found = holds(self.told)
            assert found, self.told
            return found

    def wait(self, timeout: float = 60) -> list[dict[str, Any]]:
        """Wait for its end. Returns what it has told."""
        try:
            status = self.process.wait(timeout)
            self._reader.join(10)
        finally:
            self.end()
        assert status == 0, self.told
        return self.told

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        self._reader.join(10)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
