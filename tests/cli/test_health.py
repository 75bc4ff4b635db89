"""`fws health`: the exit status says whether a server answers, whatever it listens on."""

from __future__ import annotations

from pathlib import Path

from tests.cli.command import fws
from tests.integration.conftest import Running


def test_a_server_answers_whatever_it_listens_on(tmp_path: Path) -> None:
    (tmp_path / "app.toml").write_text('[pipelines]\nmessage = ["echo"]')
    run = {"RUNTIME_DIRECTORY": str(tmp_path)}
    nobody = fws("health", cwd=tmp_path, **run)
    assert (nobody.returncode, nobody.stderr) == (69, "fws: no server answers\n")
    server = Running(["run", "app.toml", "--listen", f"unix:{tmp_path}/public.sock"], tmp_path, run)
    try:
        server.wait_for("control")
        served = fws("health", cwd=tmp_path, **run)
        assert (served.returncode, served.stdout) == (0, f"{tmp_path}/app.toml is served, generation 1\n")
        assert fws("health", "--conf", "app.toml", cwd=tmp_path, **run).returncode == 0
        other = fws("health", "--conf", "other.toml", cwd=tmp_path, **run)
        assert (other.returncode, other.stderr) == (69, "fws: no server of other.toml answers\n")
        assert server.stop() == 0
    finally:
        server.end()
