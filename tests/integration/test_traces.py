"""Traces of real servers, as a collector gets them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.cli.command import environment
from tests.integration.conftest import ROOT, Serve
from tests.integration.operator import asked
from tests.integration.redis_server import RedisServer
from tests.tracing.collector import Collector
from tests.tracing.traced import SAMPLED

NODE = """
[redis]
url = "{redis}"
[traces]
ratio = 1
endpoint = "{collector}"
service = "{name}"
[endpoints."/chat/{{room}}"]
connect = ["http {collector}/connect", "join {{room}}"]
message = [
  "http {collector}/message",
  "webhook {collector}/webhook",
  "exec 'echo $TRACEPARENT' shell=true per=message",
  "broadcast {{room}}",
]
"""
LOADED = """
import sys
from gevent import monkey; monkey.patch_all()
from fws.compiler.compile import load_generation
from fws.server.server import Server
from fws.config import Tcp
Server(load_generation(sys.argv[1]), Tcp("127.0.0.1", 0))
print(any(name.partition(".")[0] == "opentelemetry" for name in sys.modules))
"""


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    try:
        yield made
    finally:
        made.shutdown()
        made.server_close()


@pytest.mark.process
def test_a_trace_goes_from_the_page_through_services_and_programs_to_the_other_node(
    serve: Serve, tmp_path: Path, collector: Collector
) -> None:
    redis = RedisServer(tmp_path / "redis")
    try:
        one, two = (serve(NODE.format(redis=redis.url, collector=collector.url, name=name)) for name in ("one", "two"))
        with (
            connect(one.url("/chat/tea"), proxy=None, additional_headers={"traceparent": SAMPLED}) as ann,
            connect(two.url("/chat/tea"), proxy=None) as bob,
        ):
            collector.wait("connect", "connect")
            time.sleep(0.2)  # until Redis has subscribed both nodes
            ann.send("hi")
            # What the program has written is what both get.
            said = bob.recv(timeout=10)
            assert ann.recv(timeout=10) == said
        for server in (one, two):
            assert server.stop() == 0  # which sends what waits
        [handshake] = [span for span in collector.about("connect") if span.service == "one"]
        assert (handshake.parent, handshake.name) == (SAMPLED, "connect /chat/{room}")
        assert collector.asked["/connect"][:36] in (span.own[:36] for span in collector.about("connect"))
        [message] = collector.about("message")
        assert said == message.own + "\n" or said == message.own
        assert collector.asked["/message"] == collector.asked["/webhook"] == message.own
        deliveries = {span.service: span for span in collector.about("delivery")}
        assert {name: (span.parent, span.attributes["fws.origin"]) for name, span in deliveries.items()} == {
            "one": (message.own, "here"),
            "two": (message.own, "node"),
        }
        assert [stage.rpartition(" ")[2] for stage in message.stages] == ["pass"] * 4
    finally:
        redis.kill()


@pytest.mark.process
def test_a_collector_that_hangs_delays_nobody(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        url = f"http://127.0.0.1:{hanging.getsockname()[1]}"
        server = serve(
            f'[server]\ndrain = "3s"\n[traces]\nratio = 1\nendpoint = "{url}"\nqueue = 100\n'
            '[pipelines]\nmessage = ["echo"]\n'
        )
        with connect(server.url(), proxy=None) as ann:
            slowest, until = 0.0, time.monotonic() + 2.5
            while time.monotonic() < until:
                began = time.monotonic()
                assert asked(ann, "hi") == "hi"
                slowest = max(slowest, time.monotonic() - began)
        # The exporter waits for ten seconds.
        assert slowest < 1
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 4


@pytest.mark.process
def test_without_the_section_nothing_of_opentelemetry_is_loaded(tmp_path: Path) -> None:
    conf = tmp_path / "app.toml"
    environ = os.environ | {"PYTHONPATH": str(ROOT)}

    def loads(text: str) -> bool:
        conf.write_text(text)
        command = [sys.executable, "-c", LOADED, str(conf)]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout == "True\n"

    assert not loads('[pipelines]\nmessage = ["http http://127.0.0.1:1/", "echo"]\n')
    assert loads('[traces]\n[pipelines]\nmessage = ["echo"]\n')


@pytest.mark.process
def test_without_the_extra_a_check_says_how_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "hides" / "opentelemetry").mkdir(parents=True)
    (tmp_path / "hides" / "opentelemetry" / "__init__.py").touch()
    (tmp_path / "app.toml").write_text('[traces]\nratio = 0.5\n[pipelines]\nmessage = ["echo"]\n')
    environ = environment()
    environ["PYTHONPATH"] = f"{tmp_path / 'hides'}{os.pathsep}{environ['PYTHONPATH']}"
    for command in ("check", "run"):
        done = subprocess.run(
            [sys.executable, "-m", "fws", command, "app.toml"],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode in (1, 78)
        assert "[traces] needs OpenTelemetry, which is not installed" in done.stdout + done.stderr
        assert "pip install fws[otel]" in done.stdout + done.stderr
