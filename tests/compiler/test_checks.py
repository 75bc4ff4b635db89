"""The warnings of `fws check` about pipelines and filters."""

from __future__ import annotations

from pathlib import Path

import pytest

from fws.base.errors import ConfigError
from fws.compiler.compile import load_generation
from tests.support import build


def warnings(toml: str, folder: Path, **pipelines: str) -> list[str]:
    (folder / "pipelines").mkdir()
    for name, source in pipelines.items():
        (folder / "pipelines" / f"{name}.py").write_text(source)
    conf = folder / "conf.toml"
    conf.write_text(toml)
    return [str(problem) for problem in load_generation(conf, environ={"FWS_TOKEN": "t" * 32}).warnings]


@pytest.mark.parametrize(
    ("connect", "skipped"),
    [
        ('["when request.query.a == 1", "token"]', "token"),
        ('["join all", "when client.path == \'/x\'", "join b", "ban user"]', "ban user"),
        ('["early", "token"]', "token"),
        ('["token", "when identity.user == \'ann\'", "join ann"]', None),
        ('["join all"]', None),
    ],
)
def test_authentication_that_can_be_skipped(connect: str, skipped: str | None, tmp_path: Path) -> None:
    """Fault: `when` before `token` admits clients for which the condition does not hold, without a warning."""
    toml = f'[pipelines]\nconnect = {connect}\nmessage = ["echo"]\n[chains]\nearly = ["when client.path == \'/x\'"]\n'
    found = [one for one in warnings(toml, tmp_path) if "can be skipped" in one]
    assert bool(found) is bool(skipped)
    if skipped:
        column = toml.splitlines()[1].index(f'"{skipped}"') + 1
        assert f"conf.toml:2:{column}: {skipped} can be skipped" in found[0]


def test_a_warning_about_a_stage_names_its_own_line(tmp_path: Path) -> None:
    """Fault: the line was that of [pipelines], or none, where the stage is in an endpoint or in a chain."""
    toml = """[endpoints."/a"]
message = [
  "json",
  "broadcast room:{message.room}",
]
[endpoints."/b"]
connect = ["guarded"]
message = ["json"]
[chains]
guarded = ["when client.path == '/b'", "token"]
"""
    found = warnings(toml, tmp_path)
    assert any("conf.toml:4:3: broadcast room:{message.room}: a client can name" in one for one in found)
    assert any("conf.toml:10:40: token can be skipped at /b" in one for one in found)


def test_a_method_that_looks_like_a_hook(tmp_path: Path) -> None:
    source = (
        "from fws import Filter\nclass A(Filter):\n    def connect(self, c): ...\n    def on_message(self, c, m): ...\n"
    )
    (found,) = warnings('[pipelines]\nconnect = ["a"]\nmessage = ["echo"]', tmp_path, a=source)
    assert "pipelines.a.A.on_message is never called" in found


@pytest.mark.parametrize(
    "line",
    [
        "import multiprocessing",
        "from multiprocessing import Pool",
        "from concurrent.futures import ProcessPoolExecutor",
    ],
)
def test_a_pool_of_processes(line: str, tmp_path: Path) -> None:
    """Fault: a pool of processes hung the server for good."""
    source = f"{line}\nfrom fws import Filter\nclass A(Filter):\n    def message(self, c, m): ...\n"
    (found,) = warnings('[pipelines]\nmessage = ["a"]', tmp_path, a=source)
    assert "pipelines.a uses multiprocessing" in found


def test_a_pool_of_threads_is_fine(tmp_path: Path) -> None:
    source = "from concurrent.futures import ThreadPoolExecutor\nfrom fws import Filter\n"
    source += "class A(Filter):\n    def message(self, c, m): ...\n"
    assert warnings('[pipelines]\nmessage = ["a"]', tmp_path, a=source) == []


def test_a_short_api_key_is_a_warning_that_does_not_show_it(tmp_path: Path) -> None:
    toml = f'[api]\npath = "/api"\nkey = "{"k" * 32}"\n[api.keys.shop]\nkey = "sesame"\nread = true\n'
    (found,) = warnings(toml + '[pipelines]\nmessage = ["echo"]', tmp_path)
    assert "an API key of fewer than 16 characters can be guessed" in found
    assert "sesame" not in found


@pytest.mark.parametrize("section", ["[server]", '[endpoints."/x"]'])
def test_http_streaming_without_a_protocol_serves_nobody(section: str, tmp_path: Path) -> None:
    toml = f'{section}\ntransports = ["http_stream"]\n[pipelines]\nmessage = ["echo"]\n'
    with pytest.raises(ConfigError, match="http_stream is for the protocol centrifuge"):
        build(toml, tmp_path)
