"""The Dockerfile: it builds what its command needs, and the command is a proper process 1.

Docker and the base image are not tried: see `tests.ops.image` for what stands in for them.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from fws.config import Server
from tests.integration.conftest import ROOT
from tests.ops.image import Container, Image, steps_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a root of its own for the image needs root")

# Each message starts a program that ends at once, and leaves a child that ends a moment later.
ORPHANS = """
[pipelines]
message = ["exec 'sleep 0.1 & echo started' shell=true per=message", "echo"]
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    image = Image(tmp_path_factory.mktemp("image"), ROOT)
    yield image
    image.close()


def command_of(image: Image) -> list[str]:
    """The image's command, on a free port."""
    command: list[str] = json.loads(image.stages[-1].settings["CMD"])
    command[command.index("0.0.0.0:9000")] = "127.0.0.1:0"
    return command


def health_of(image: Image) -> list[str]:
    found = re.search(r"CMD (\[.*\])$", image.stages[-1].settings["HEALTHCHECK"])
    assert found
    command: list[str] = json.loads(found[1])
    return command


def test_the_image_has_what_it_needs_and_no_compiler(image: Image) -> None:
    build, last = image.stages
    assert build.base == last.base == "python:3.13-slim"
    assert any("gcc" in command for command in build.ran)
    assert not any("gcc" in command for command in last.ran)
    assert any("tini" in command for command in last.ran)
    assert last.settings["USER"] == "10001:10001"
    assert last.settings["STOPSIGNAL"] == "SIGTERM"
    assert "org.opencontainers.image.licenses" in last.settings["LABEL"]
    assert image.run(["fws", "--version"]).endswith("compiled\n")
    # The user of the image can change nothing but its runtime folder.
    assert image.run(["stat", "-c", "%U", "/run/fws", "/opt/fws", "/srv/fws"]).split() == ["fws", "root", "root"]


def test_every_copied_file_passes_the_dockerignore_and_is_used() -> None:
    copied = {
        source
        for step in steps_of((ROOT / "Dockerfile").read_text())
        if step.word == "COPY" and not step.text.startswith("--")
        for source in step.text.split()[:-1]
    }
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in lines if line.startswith("!")} == copied


def test_a_read_only_container_serves_is_healthy_reloads_and_drains(image: Image) -> None:
    container = image.start(command_of(image), {}, read_only=True)
    try:
        port = int(container.wait_for(r"open +http://127\.0\.0\.1:(\d+)/")[1])
        with connect(f"ws://127.0.0.1:{port}/", proxy=None) as client:
            assert json.loads(client.recv(timeout=10))["type"] == "welcome"
            health = container.run(health_of(image))
            assert (health.returncode, "chat.toml is served" in health.stdout) == (0, True), health.stderr
            assert container.run(["touch", "/srv/fws/x"]).returncode != 0
            image.run(["sed", "-i", "s/max_message 4KiB/max_message 5KiB/", "/srv/fws/conf/chat.toml"])
            container.signal(signal.SIGHUP)
            container.wait_for("generation 2")
            container.signal(signal.SIGTERM)
            container.wait_for("draining: 1 clients")
            for _ in client:
                pass  # what is said on leaving
            assert client.close_code == 1001
        assert container.process.wait(Server().drain + 5) == 0
    finally:
        container.end()


def test_orphans_are_reaped(image: Image, tmp_path: Path) -> None:
    image.run(["sh", "-ec", 'printf "%s" "$TOML" > /srv/fws/conf/orphans.toml'], environ={"TOML": ORPHANS})
    command = command_of(image)
    command[command.index("conf/chat.toml")] = "conf/orphans.toml"
    container = image.start(command, {})
    try:
        port = int(container.wait_for(r"connect +ws://127\.0\.0\.1:(\d+)/")[1])
        # One of a command that an operator runs, which fws does not know of.
        container.run(["sh", "-c", "sleep 0.1 & exit"])
        assert orphans_of(container) == []
        with connect(f"ws://127.0.0.1:{port}/", proxy=None) as client:
            for _ in range(3):
                client.send("go")
                assert client.recv(timeout=10).strip() == "started"
        assert orphans_of(container) == []
        container.signal(signal.SIGTERM)
        assert container.process.wait(30) == 0
    finally:
        container.end()


def orphans_of(container: Container) -> list[str]:
    """What is left of a container's orphans after a while."""
    until = time.monotonic() + 5
    while (left := container.orphans()) and time.monotonic() < until:
        time.sleep(0.05)
    return left


SIGNALS = ("HUP", "USR2", "INT", "TERM")


def test_process_1_passes_every_signal_on_that_fws_knows(image: Image) -> None:
    traps = "; ".join(f"trap 'echo got {name}' {name}" for name in SIGNALS)
    container = image.start(["sh", "-c", f"{traps}; echo begun; while :; do sleep 0.05; done"], {})
    try:
        container.wait_for("begun")
        for name in SIGNALS:
            container.signal(signal.Signals[f"SIG{name}"])
            container.wait_for(f"got {name}")
    finally:
        container.end()


def test_without_a_server_the_container_is_not_healthy(image: Image) -> None:
    container = image.start(["sh", "-c", "echo begun; exec sleep 60"], {})
    try:
        container.wait_for("begun")
        health = container.run(health_of(image))
        assert (health.returncode, health.stderr) == (69, "fws: no server answers\n")
    finally:
        container.end()
