"""The documentation is run: TOML is compiled, Python and commands are executed, and generated pages are compared."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fws.compiler.compile import load_generation
from fws.config import Limits, Redis, Server, Tls
from fws.pipeline.events import EVENTS
from fws.pipeline.options import options_of
from fws.testing.suite import Suite
from tests.integration.redis_server import RedisServer

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
# Command lines of indented blocks, page by page.
COMMANDS = [
    line.strip()
    for page in PAGES
    for line in page.read_text().splitlines()
    if re.match(r"    (make|fws|pip|cd|python|redis-cli|curl) ", line)
]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def project(folder: Path, page: Path) -> Path:
    """A project with this repository's filters, page and examples, and the modules that the page shows."""
    shutil.copytree(ROOT / "pipelines", folder / "pipelines")
    (folder / "conf").mkdir()
    (folder / "conf" / "chat").mkdir()
    (folder / "conf" / "centrifuge").mkdir()
    shutil.copytree(ROOT / "conf" / "exec", folder / "conf" / "exec")
    shutil.copytree(ROOT / "conf" / "shapes", folder / "conf" / "shapes")
    for conf in (ROOT / "conf").glob("*.toml"):
        shutil.copy(conf, folder / "conf")
    for source in blocks(page, "python"):
        name = re.match(r"# (pipelines/\w+\.py)\n", source)
        if name:
            (folder / name[1]).write_text(source)
    return folder


# What the pages take from the environment.
ENVIRON = {"FWS_TOKEN": "t" * 32, "JWT_KEY": "k" * 32, "WEBHOOK_SECRET": "whsec_" + "k" * 32} | {
    name: name.lower() for name in ("FWS_API_KEY", "SHOP_API_KEY", "DASHBOARD_API_KEY")
}
TOML = [(page, number) for page in PAGES for number in range(len(blocks(page, "toml")))]


@pytest.mark.parametrize(("page", "number"), TOML, ids=lambda value: getattr(value, "stem", str(value)))
def test_toml_blocks_compile(page: Path, number: int, tmp_path: Path) -> None:
    text = blocks(page, "toml")[number]
    if re.match(rf"({'|'.join(EVENTS)}) *=", text):
        text = "[pipelines]\n" + text
    if "[pipelines]" not in text and "[endpoints" not in text:
        text += '\n[pipelines]\nmessage = ["echo"]\n'
    conf = project(tmp_path, page) / "conf" / "block.toml"
    conf.write_text(text)
    load_generation(conf, environ=ENVIRON)
    assert [result.failure for result in Suite(conf, ENVIRON).run()] == [None] * text.count("[[test]]")


PYTHON = [(page, number) for page in PAGES for number in range(len(blocks(page, "python")))]


@pytest.mark.parametrize(("page", "number"), PYTHON, ids=lambda value: getattr(value, "stem", str(value)))
def test_python_blocks_run_and_their_tests_pass(page: Path, number: int, tmp_path: Path) -> None:
    source = blocks(page, "python")[number]
    folder = project(tmp_path, page)
    (folder / "block.py").write_text(source)
    script = "import block; [test() for name, test in vars(block).items() if name.startswith('test_')]"
    environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


CONFS = [path for path in sorted((ROOT / "conf").glob("*.toml")) if not path.stem.endswith("_test")]


@pytest.mark.parametrize("conf", CONFS, ids=lambda path: path.stem)
def test_examples_compile_and_show_their_output(conf: Path) -> None:
    assert conf.read_text().startswith("# ")
    load_generation(conf, environ=ENVIRON)


def test_the_readme_shows_the_chat_that_is_shipped() -> None:
    shown = load_text(blocks(ROOT / "README.md", "toml")[0])
    assert shown == load_text((ROOT / "conf" / "chat.toml").read_text())


def load_text(text: str) -> dict[str, object]:
    import tomllib

    return tomllib.loads(text)


def fws(*arguments: str, cwd: Path = ROOT, stdin: str = "", **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "fws", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environ,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("page", "arguments"),
    [
        ("filters.md", ["filters", "--format", "markdown", "--built-in"]),
        ("settings.md", ["filters", "--settings"]),
        ("metrics.md", ["filters", "--metrics"]),
        ("openapi.json", ["api", "--openapi"]),
    ],
)
def test_generated_pages_are_fresh(page: str, arguments: list[str], tmp_path: Path) -> None:
    """`make docs` writes them."""
    assert (ROOT / "docs" / page).read_text() == fws(*arguments, cwd=tmp_path)


def test_the_defaults_of_the_security_page_are_those_of_the_settings() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    rows = re.findall(r"^\| `\[([a-z.]+)\] (\w+)` \| `([^`]*)` \|", page, re.MULTILINE)
    sections = {"server": Server, "server.tls": Tls, "limits": Limits, "redis": Redis}
    real = {(name, option.name): option.default_text for name, cls in sections.items() for option in options_of(cls)}
    assert len(rows) > 20
    assert [row for row in rows if real[row[0], row[1]] != row[2]] == []


def serves(command: list[str], cwd: Path, **environ: str) -> int:
    """Start a server, check that it serves, and stop it. Returns the exit status."""
    environment = os.environ | {"FWS_LISTEN": "127.0.0.1:0", "PYTHONPATH": str(ROOT)} | environ
    environment.pop("PORT", None)
    process = subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0
    )
    assert process.stdout is not None
    with process.stdout:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "://127.0.0.1:" in line:
                os.killpg(process.pid, signal.SIGTERM)
        status = process.wait(30)
    assert any("://127.0.0.1:" in line for line in lines), lines
    return status


def test_every_command_of_the_documentation_is_run(tmp_path: Path) -> None:
    """Each command line of an indented block is run in a folder like the reader's."""
    ran = set()
    live: list[str] = []
    api: list[str] = []
    for command in dict.fromkeys(COMMANDS):
        word, *arguments = shlex.split(command)
        if word == "make":
            # The targets themselves are what runs this test; here it counts that they are there.
            subprocess.run(["make", "-n", *arguments], cwd=ROOT, check=True, capture_output=True)
        elif command in ("pip install .", "cd demo", "fws connect localhost:9000"):
            pass  # the first is CI's; the last is run against a server in tests/cli/test_connect.py
        elif command.startswith("fws token "):
            (tmp_path / "login" / "conf").mkdir(parents=True, exist_ok=True)
            (tmp_path / "login" / "conf" / "app.toml").write_text('[pipelines]\nconnect = ["jwt HS256 ${JWT_KEY}"]')
            token = fws("token", "make", "conf/app.toml", "--user", "ann", cwd=tmp_path / "login", **ENVIRON)
            assert fws(*arguments, cwd=tmp_path / "login", stdin=token, **ENVIRON)
        elif command == "fws new demo":
            fws("new", "demo", cwd=tmp_path)
        elif command in ("python conf/http/service.py", "fws run conf/http.toml"):
            pass  # they are run in tests/integration/test_http.py
        elif command.startswith("python -c "):
            assert subprocess.run([sys.executable, *arguments], capture_output=True, check=True).stdout
        elif command.startswith("curl -N "):
            pass  # it is run against a server in tests/integration/test_clients_page.py
        elif command in ("python conf/webhooks/receiver.py", "fws run conf/webhooks.toml"):
            pass  # they are run together in tests/integration/test_webhooks.py
        elif command.startswith("fws publish "):
            redis = RedisServer(tmp_path / "redis")
            try:
                fws(*arguments, REDIS_URL=redis.url)
            finally:
                redis.kill()
        elif command.startswith("python bench/classic.py "):
            quick = [sys.executable, *arguments, "--rounds", "1", "--seconds", "0.2"]
            assert subprocess.run(quick, cwd=ROOT, timeout=90).returncode == 0
        elif command.startswith("fws classic "):
            status = serves([sys.executable, "-m", "fws", *arguments, "-p", "0"], tmp_path)
            assert status == 0
        elif command == "python bench/relay.py":
            quick = [sys.executable, *arguments, "--quick", "--seconds", "0.3"]
            done = subprocess.run(quick, cwd=ROOT, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
            assert "| 2 nodes, 1 channel" in done.stdout
        elif word == "redis-cli":
            redis = RedisServer(tmp_path / "redis-cli")
            try:
                subprocess.run([word, "-p", str(redis.port), *arguments], check=True, capture_output=True)
            finally:
                redis.kill()
        elif command == "fws run conf/admin.toml":
            assert serves([sys.executable, "-m", "fws", *arguments], ROOT, FWS_ADMIN="127.0.0.1:0", **ENVIRON) == 0
        elif command == "fws run conf/exec.toml":
            assert serves([sys.executable, "-m", "fws", *arguments], ROOT) == 0
        elif command in ("fws run conf/app.toml", "fws run conf/app.toml --watch"):
            status = serves([sys.executable, "-m", "fws", *arguments], tmp_path / "demo")
            assert status == 0
        elif command in ("fws test conf/app.toml", "fws try conf/app.toml", "fws graph conf/app.toml"):
            assert fws(*arguments, cwd=tmp_path / "demo", stdin="ann> connect /\nann> Ada\n")
        elif word == "curl" or command.startswith(("fws api ", "fws run conf/api.toml")):
            api.append(command)
        elif (word == "fws" and arguments[0] in LIVE) or command == "python bench/reload.py":
            live.append(command)
        else:
            raise AssertionError(f"nothing runs {command!r}")
        ran.add(command)
    assert ran == set(COMMANDS)
    assert "make run" in ran
    run_live(live, tmp_path)
    run_api(api)


def run_api(commands: list[str]) -> None:
    """Run commands of docs/api.md in a shell, the first of which starts the server that the others ask."""
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environ = os.environ | ENVIRON | {"PYTHONPATH": str(ROOT), "FWS_LISTEN": address}
    fws = f"{shlex.quote(sys.executable)} -m"
    run = commands[0].replace("fws run", f"exec {fws} fws run", 1)
    server = subprocess.Popen(run, shell=True, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        while "control" not in server.stdout.readline():
            assert server.poll() is None
        for command in commands[1:]:
            line = command.replace("localhost:9000", address)
            line = f"{fws} {line}" if line.startswith("fws ") else f"{line} -sS --fail -m 10"
            done = subprocess.run(line, shell=True, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)
            assert (done.returncode, "error" in done.stdout) == (0, False), f"{command}: {done.stdout}{done.stderr}"
    finally:
        server.terminate()
        server.wait(30)
        server.stdout.close()


# Commands that talk to a running server, with what ends those that go on.
LIVE = {
    "reload": [],
    "tap": ["--for", "1s"],
    "top": [],
    "clients": [],
    "kick": [],
    "channels": [],
    "record": [],
    "replay": [],
}


def run_live(commands: list[str], folder: Path) -> None:
    """Run commands against a server of the reader's project."""
    (folder / "run").mkdir()
    environ = {"XDG_RUNTIME_DIR": str(folder / "run"), "PYTHONPATH": str(ROOT), "FWS_LISTEN": "127.0.0.1:0"}
    server = subprocess.Popen(
        [sys.executable, "-m", "fws", "run", "conf/app.toml"],
        cwd=folder / "demo", env=os.environ | environ, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    try:
        while "control" not in server.stdout.readline():
            assert server.poll() is None
        for command in commands:
            word, name, *arguments = shlex.split(command)
            if word == "python":
                words = [
                    sys.executable,
                    str(ROOT / name),
                    "--clients",
                    "20",
                    "--rate",
                    "100",
                    "--reloads",
                    "2",
                    "--memory",
                    "2",
                ]
            else:
                short = [argument.replace("60s", "1s") for argument in arguments]
                words = [sys.executable, "-m", "fws", name, *short, *LIVE[name]]
            done = subprocess.run(
                words, cwd=folder / "demo", env=os.environ | environ, capture_output=True, text=True, timeout=90
            )
            # `kick` exits with 1 if nobody of that name is there.
            assert done.returncode == 0 or (name == "kick" and "closed 0" in done.stdout), f"{command}: {done.stderr}"
    finally:
        server.terminate()
        server.wait(30)
        server.stdout.close()
