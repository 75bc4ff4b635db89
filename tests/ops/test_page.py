"""The commands of docs/deploy.md: they name what there is, and those of systemd lead to a server that answers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import environment
from tests.integration.conftest import ROOT, Running
from tests.integration.redis_server import free_port
from tests.ops.test_compose import SERVICES
from tests.ops.test_kubernetes import SECRET, manifest
from tests.test_docs import blocks

PAGE = ROOT / "docs" / "deploy.md"
TEXT = PAGE.read_text()
# What needs root or another machine.
STUBS = "useradd() { :; }; python3() { :; }; systemctl() { :; }\n"


@pytest.mark.parametrize("block", blocks(PAGE, "sh"))
def test_a_shell_reads_it(block: str) -> None:
    subprocess.run(["sh", "-n"], input=block, text=True, check=True)


def test_every_file_and_name_is_there() -> None:
    named = set(re.findall(r"\bops/[\w./-]*\w", TEXT)) - {"ops/.env"}
    # `optional/…` is short for ops/kubernetes/optional/….
    named |= {f"ops/kubernetes/{name}" for name in re.findall(r"`(optional/\S+)`", TEXT)}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
    assert {"ops/compose.yml", "ops/haproxy.cfg", "ops/nginx.conf", "ops/systemd/fws.service"} <= named
    assert set(re.findall(r"compose\.yml exec (\w+)", TEXT)) <= set(SERVICES)
    assert set(re.findall(r"--from-literal=(\w+)=", TEXT)) == set(SECRET)
    kinds = {"deployment": "Deployment", "service": "Service"}
    for kind, name in re.findall(r"\b(deployment|service)/(\w+)", TEXT):
        assert manifest(kinds[kind], name)


def test_the_walk_through_systemd(tmp_path: Path) -> None:
    install, connect, *_ = blocks(PAGE, "sh")
    places = {
        "/srv/fws/.venv/bin/pip": ":",
        "/srv/fws/.venv/bin/fws": f"{sys.executable} -m fws",
        "/etc/fws": str(tmp_path),
        "/etc/systemd/system/": f"{tmp_path}/",
    }
    for place, here in places.items():
        install, connect = install.replace(place, here), connect.replace(place, here)
    shell = ["sh", "-ec"]
    subprocess.run([*shell, STUBS + install], cwd=ROOT, check=True)
    assert (tmp_path / "fws.service").is_file()
    file = tmp_path / "environment"
    assert file.stat().st_mode & 0o777 == 0o600
    environ = dict(line.split("=", 1) for line in file.read_text().splitlines())
    # There is no Redis at its usual port.
    environ |= {"REDIS_URL": "", "FWS_LISTEN": "127.0.0.1:0", "FWS_ADMIN": f"127.0.0.1:{free_port()}"}
    server = Running(["run", str(tmp_path / "fws.toml")], tmp_path, environ)
    try:
        server.ready()
        script = connect.replace("127.0.0.1:9000", f"127.0.0.1:{server.port}")
        assert script != connect
        done = subprocess.run(
            [*shell, script], input="hello\n", cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert "hello" in done.stdout
    finally:
        server.end()
