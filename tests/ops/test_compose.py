"""ops/compose.yml: what its services refer to is there, and the same processes without Docker form one chat."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import time
import tomllib
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import redis
import yaml

from tests.integration.conftest import ROOT, Running
from tests.integration.redis_server import free_port
from tests.ops.image import steps_of
from tests.ops.login import JWT_KEY, client_of, token_of
from tests.ops.programs import Programs, nginx_of

OPS = ROOT / "ops"
COMPOSE = yaml.safe_load((OPS / "compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
NODES = [service for name, service in SERVICES.items() if name in ("one", "two")]
CONF = OPS / "conf" / "fws.toml"
SETTINGS = tomllib.loads(CONF.read_text())
SECRETS = {"REDIS_PASSWORD": "p" * 24, "JWT_KEY": JWT_KEY}


def filled_in(value: str) -> str:
    """A value as compose reads it: `${NAME:?message}` is a variable that must be set, and `$$` a dollar."""
    value = re.sub(r"(?<!\$)\$\{(\w+):\?[^}]*\}", lambda found: SECRETS[found[1]], value)
    assert not re.search(r"(?<!\$)\$(?!\$)", value), value
    return value.replace("$$", "$")


def seconds_of(text: str) -> int:
    return int(text.removesuffix("s"))


def test_every_file_that_is_mounted_is_there() -> None:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or (OPS / source).exists(), f"{name}: {volume}"
        assert set(service.get("depends_on", {})) <= set(SERVICES)
        for network in service["networks"]:
            assert network in COMPOSE["networks"]
    assert (OPS / NODES[0]["build"] / "Dockerfile").is_file()


def test_only_nginx_is_published() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["nginx"]
    target = int(SERVICES["nginx"]["ports"][0].split(":")[1])
    assert f"listen {target};" in (OPS / "nginx.conf").read_text()
    assert f"127.0.0.1:{target}/nginx-health" in SERVICES["nginx"]["healthcheck"]["test"][1]


def test_the_nodes_get_what_their_file_asks_for() -> None:
    asked = set(re.findall(r"\$\{(\w+)", CONF.read_text()))
    for node in NODES:
        assert set(node["environment"]) == asked
        assert "/".join(node["command"][2].split("/")[:-1]) == node["volumes"][0].split(":")[1] == "/etc/fws"
        network = ip_network(node["environment"]["FWS_PROXIES"])
        assert [network] == [ip_network(COMPOSE["networks"]["front"]["ipam"]["config"][0]["subnet"])]
        assert ip_address(node["networks"]["front"]["ipv4_address"]) in network
    port = NODES[0]["environment"]["FWS_LISTEN"].split(":")[1]
    upstream = re.findall(r"server (\w+):(\d+)", (OPS / "nginx.conf").read_text())
    assert upstream == [("one", port), ("two", port)]


def test_a_node_has_time_to_drain_and_may_not_do_much() -> None:
    user = next(step.text for step in steps_of((ROOT / "Dockerfile").read_text()) if step.word == "USER")
    for name, service in SERVICES.items():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["deploy"]["resources"]["limits"]
        assert name in ("one", "two") or "healthcheck" in service
    for node in NODES:
        assert seconds_of(node["stop_grace_period"]) > seconds_of(SETTINGS["server"]["drain"])
        uid, gid = user.split(":")
        assert node["tmpfs"] == [f"/run/fws:uid={uid},gid={gid},mode=0700"]
        assert node["depends_on"] == {"redis": {"condition": "service_healthy"}}


class Topology:
    """The services of compose.yml as processes. Redis and the nodes listen on free ports."""

    def __init__(self, folder: Path, programs: Programs) -> None:
        self._folder = folder
        self._redis = free_port()
        self._programs = programs
        self.nodes: list[Running] = []
        self.admin: list[int] = []
        self.port = 0

    def start(self) -> None:
        environ = {name: filled_in(value) for name, value in SERVICES["redis"]["environment"].items()}
        command = [filled_in(word) for word in SERVICES["redis"]["command"]]
        assert command[-1].count("dir /data\n") == 1
        command[-1] = command[-1].replace("dir /data\n", f"dir {self._folder}\nport {self._redis}\nbind 127.0.0.1\n")
        self._programs.start(command, port=self._redis, **environ)
        test = SERVICES["redis"]["healthcheck"]["test"][1].replace("redis-cli", f"redis-cli -p {self._redis}")
        subprocess.run(["sh", "-ec", test], env=environ | {"PATH": "/usr/bin:/bin"}, check=True)
        for node in NODES:
            self.nodes.append(self._node(node))
        for running in self.nodes:
            running.ready()
            self.admin.append(int(running.wait_for(r"admin +http://127\.0\.0\.1:(\d+)")[1]))
        ports = {f"{name}:9000": node.port for name, node in zip(("one", "two"), self.nodes, strict=True)}
        self.port = nginx_of(self._folder, ports, self._programs)

    def _node(self, node: dict[str, Any]) -> Running:
        environ = {name: filled_in(value) for name, value in node["environment"].items()}
        environ["REDIS_URL"] = environ["REDIS_URL"].replace("@redis:6379", f"@127.0.0.1:{self._redis}")
        # The proxy is on this machine instead of in the network of the containers.
        environ |= {"FWS_LISTEN": "127.0.0.1:0", "FWS_ADMIN": f"127.0.0.1:{free_port()}", "FWS_PROXIES": "127.0.0.1"}
        folder = self._folder / f"node{len(self.nodes)}"
        folder.mkdir()
        word, *arguments = node["command"]
        assert word == "fws"
        return Running([one.replace("/etc/fws", str(OPS / "conf")) for one in arguments], folder, environ)

    def clients(self) -> list[int]:
        """The number of clients on each node, from its admin port."""
        counts = []
        for port in self.admin:
            with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
                counts.append(json.load(answer)["clients"])
        return counts

    def subscribed(self) -> int:
        """The number of nodes that hear the channel."""
        with redis.Redis(port=self._redis, password=SECRETS["REDIS_PASSWORD"]) as client:
            return int(client.execute_command("PUBSUB", "NUMSUB", "fws:lobby")[1])

    def end(self) -> None:
        for node in self.nodes:
            node.end()


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Topology]:
    programs = Programs()
    topology = Topology(tmp_path, programs)
    try:
        topology.start()
        yield topology
    finally:
        topology.end()
        programs.end()


def test_two_nodes_behind_nginx_are_one_chat_and_one_may_stop(topology: Topology) -> None:
    ann = client_of(topology.port, token_of("ann"))
    bob = client_of(topology.port, token_of("bob"))
    with ann, bob:
        # least_conn gives each node one of them.
        assert topology.clients() == [1, 1]
        until = time.monotonic() + 10
        while topology.subscribed() < 2 and time.monotonic() < until:
            time.sleep(0.02)
        ann.send("hello bob")
        assert bob.recv(timeout=10) == "hello bob"
        assert ann.recv(timeout=10) == "hello bob"
        topology.nodes[0].signal(signal.SIGTERM)
        assert topology.nodes[0].process.wait(30) == 0
        left, stayed = (ann, bob) if ann.close_code == 1001 else (bob, ann)
        assert left.close_code == 1001
        # nginx finds the other node, and there is what was said before.
        with client_of(topology.port, token_of("cy")) as cy:
            assert cy.recv(timeout=10) == "hello bob"
            cy.send("hello all")
            assert stayed.recv(timeout=10) == "hello all"


def test_the_health_of_nginx_is_its_own(tmp_path: Path) -> None:
    programs = Programs()
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    try:
        at = nginx_of(tmp_path, {"one:9000": port, "two:9000": port}, programs)
        with urlopen(f"http://127.0.0.1:{at}/nginx-health", timeout=10) as answer:
            assert answer.status == 204
    finally:
        programs.end()
