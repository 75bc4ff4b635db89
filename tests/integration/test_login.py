"""Logins at a real server, and that credentials are shown nowhere."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jwt
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.auth.pairs import SECRET, private
from tests.integration.conftest import Running, Serve

TOKEN = "PiRLiGpWQZ1F2QhxJ8Cw"


def opened(server: Running, path: str = "/", token: str = "", **options: Any) -> ClientConnection:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    client: ClientConnection = connect(server.url(path), additional_headers=headers, **options)
    return client


def status_of(server: Running, path: str = "/", token: str = "", **options: Any) -> int:
    with pytest.raises(InvalidStatus) as refused:
        opened(server, path, token, **options)
    return refused.value.response.status_code


def issued(algorithm: str = "HS256", **claims: Any) -> str:
    key = SECRET if algorithm == "HS256" else private(algorithm)
    return jwt.encode({"sub": "ann", "exp": int(time.time()) + 60} | claims, key, algorithm)


PLACES = """
[endpoints."/shared"]
connect = ["token ${SHARED} from=header,cookie,subprotocol,message,query", "join lobby"]
message = ["echo"]
[endpoints."/signed"]
connect = ["jwt HS256 ${KEY} from=header,cookie,subprotocol,message,query", "join lobby"]
message = ["log", "echo"]
[endpoints."/bad"]
connect = ["token ${SHARED} from=header,cookie,subprotocol,message,query", "bad"]
"""
BAD = """
from fws import Filter
class Bad(Filter):
    def connect(self, client):
        raise RuntimeError("a fault")
"""


def test_no_credential_is_seen_wherever_it_comes(serve: Serve, tmp_path: Path) -> None:
    server = serve(
        PLACES,
        "--log-level",
        "debug",
        pipelines={"bad": BAD},
        SHARED=f"ann:{TOKEN}",
        KEY=SECRET,
        PYTHONFAULTHANDLER="1",
    )
    good, bad = {"/shared": TOKEN, "/signed": issued(), "/bad": TOKEN}, {}
    for path, token in good.items():
        bad[path] = token[:-6] + "Zz9Zz9"
    for path in good:
        for token in (good[path], bad[path]):
            ways: tuple[dict[str, Any], ...] = (
                {"additional_headers": {"Authorization": f"Bearer {token}"}},
                {"additional_headers": {"Authorization": f"Bearer {token} {token}"}},
                {"additional_headers": {"Cookie": f"token={token}"}},
                {"subprotocols": ["fws", f"fws.token.{token}"]},
                {"query": f"?token={token}"},
                {"first": token},
                {"first": json.dumps({"token": token})},
            )
            for options in ways:
                target = path + options.get("query", "")
                given = {key: value for key, value in options.items() if key not in ("query", "first")}
                try:
                    with connect(server.url(target), **given) as client:
                        assert client.subprotocol in (None, "fws")
                        assert token not in str(client.response.headers)
                        if "first" in options:
                            client.send(options["first"])
                            if path == "/signed":
                                client.send(json.dumps({"token": issued()}))
                        client.send("hello")
                        client.recv(timeout=5)
                except (InvalidStatus, ConnectionClosed):
                    pass
    health = urllib.request.urlopen(f"http://127.0.0.1:{server.port}/healthz").read().decode()
    urllib.request.urlopen(f"http://127.0.0.1:{server.port}/healthz?token={TOKEN}").read()
    server.wait_for(r"healthz\?…")
    arguments = Path(f"/proc/{server.process.pid}/cmdline").read_text()
    assert server.stop() == 0
    for secret in (TOKEN, SECRET, *good.values(), *bad.values()):
        for piece in (secret, secret[:-6], secret.rpartition(".")[2]):
            for place in (server.output, health, arguments):
                assert piece not in place
    assert "a fault" in server.output, "the log is there"
    assert "GET /shared" in server.output


def test_the_argument_token_protects_every_endpoint_and_is_not_in_the_process_list(serve: Serve) -> None:
    toml = '[endpoints."/a"]\nmessage = ["echo"]\n[pipelines]\nconnect = ["join lobby"]\nmessage = ["echo"]'
    server = serve(toml, "--token", TOKEN)
    for path in ("/a", "/any"):
        with opened(server, path, TOKEN) as client:
            client.send("hello")
            assert client.recv(timeout=5) == "hello"
        assert status_of(server, path, "wrong") == 401
        with opened(server, path) as client:
            client.send("hello")
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(timeout=5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401
    assert TOKEN not in Path(f"/proc/{server.process.pid}/cmdline").read_text()
    assert "fws:token" in server.output
    assert server.stop() == 0
    assert TOKEN not in server.output


def test_the_token_may_be_in_a_file_or_in_the_environment(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"ann:{TOKEN}\n")
    toml = "[pipelines]\nconnect = ['join lobby']\nmessage = ['reply {identity.user}']"
    for arguments, environ in (
        (["--token-file", str(tmp_path / "token")], {}),
        (["--token=-"], {"FWS_TOKEN": f"ann:{TOKEN}"}),
    ):
        with opened(serve(toml, *arguments, **environ), "/", TOKEN) as client:
            client.send("who am I?")
            assert client.recv(timeout=5) == "ann"


@pytest.mark.parametrize("arguments", [["--token="], ["--token", "-"], ["--token-file", "none"]])
def test_without_a_token_it_does_not_start(serve: Serve, arguments: list[str]) -> None:
    server = serve("[pipelines]\nmessage = ['echo']", *arguments, ready=False)
    assert server.process.wait(15) == 78


def test_of_two_tokens_none_is_passed_over(serve: Serve) -> None:
    server = serve("[pipelines]\nmessage = ['echo']", "--token", TOKEN, "--token-file", "token", ready=False)
    assert server.process.wait(15) == 2
    assert TOKEN not in server.output


def test_a_client_that_says_nothing_goes_and_shutdown_does_not_wait_for_one(serve: Serve) -> None:
    server = serve(f"[pipelines]\nconnect = ['token {TOKEN} auth_timeout=1s']")
    began = time.monotonic()
    with opened(server) as client, pytest.raises(ConnectionClosed) as closed:
        client.recv(timeout=5)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401
    assert 0.9 < time.monotonic() - began < 3
    with ExitStack() as stack:
        waiting = [stack.enter_context(opened(server)) for _ in range(3)]
        server.signal(signal.SIGTERM)
        for client in waiting:
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(timeout=5)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
    assert server.process.wait(10) == 0


def test_a_connection_ends_when_its_token_does(serve: Serve) -> None:
    server = serve("[pipelines]\nconnect = ['jwt HS256 ${KEY} warn=1s']\nmessage = ['echo']", KEY=SECRET)
    end = int(time.time()) + 3
    with opened(server, "/", issued(exp=end)) as client:
        assert json.loads(client.recv(timeout=5)) == {"type": "token_expires", "seconds": 1}
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=5)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401
    assert 0 <= time.time() - end < 1.5


def message_login(server: Running, token: str) -> int:
    """The close code; 0 if the client is admitted and served."""
    with opened(server) as client:
        try:
            client.send(token)
            client.send("hello")
            return 0 if client.recv(timeout=5) == "hello" else -1
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd is not None else 1006


def test_a_users_limit_holds_for_tokens_that_come_as_a_message_too(serve: Serve) -> None:
    limits = "[limits]\nclients_per_user = 1\nexempt = []\n"
    server = serve(f"{limits}[pipelines]\nconnect = ['token ann:{TOKEN}']\nmessage = ['echo']")
    with opened(server, "/", TOKEN):
        assert message_login(server, TOKEN) == 4429
    until = time.monotonic() + 5
    while message_login(server, TOKEN) and time.monotonic() < until:
        time.sleep(0.05)
    assert message_login(server, TOKEN) == 0


WHO = """
from fws import Filter
class Who(Filter):
    def connect(self, client):
        client.identity = {"user": client.id}
"""


def test_a_login_by_message_counts_for_the_limit_of_the_user(serve: Serve) -> None:
    """Fault: the connection counted for the user of the certificate or of an earlier filter."""
    toml = f"[limits]\nclients_per_user = 1\n[pipelines]\nconnect = ['who', 'token ann:{TOKEN}']\nmessage = ['echo']"
    server = serve(toml, pipelines={"who": WHO})
    with opened(server) as first:
        first.send(TOKEN)
        first.send("hello")
        assert first.recv(timeout=5) == "hello"
        assert message_login(server, TOKEN) == 4429


def test_workers_have_the_token_too(serve: Serve, tmp_path: Path) -> None:
    from tests.integration.redis_server import RedisServer

    redis = RedisServer(tmp_path / "redis")
    try:
        toml = f"[redis]\nurl = '{redis.url}'\n[pipelines]\nmessage = ['echo']"
        server = serve(toml, "--workers", "2", "--token", TOKEN)
        for _ in range(6):
            with opened(server, "/", TOKEN):
                pass
            assert status_of(server, "/", "wrong") == 401
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    assert TOKEN not in Path(f"/proc/{entry}/cmdline").read_text(errors="replace")
                except OSError:
                    pass
        assert server.stop() == 0
    finally:
        redis.kill()
