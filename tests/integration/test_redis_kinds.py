"""Kinds of connections to Redis: TLS, a UNIX socket, users."""

from __future__ import annotations

import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import Running, Serve
from tests.integration.raw import TEXT, Raw
from tests.integration.redis_server import RedisServer, free_port

TOML = """
[redis]
url = "${REDIS_URL}"
%s
[pipelines]
connect = ["join lobby"]
message = ["broadcast lobby"]
"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ca.pem` that signed `redis.pem`, and `other.pem` that did not."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("ca", "other"):
        openssl("req", "-x509", *curve, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
    openssl("req", *curve, "-keyout", "redis.key", "-out", "redis.csr", "-subj", "/CN=redis")
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "san", "-days", "2")
    openssl("x509", "-req", "-in", "redis.csr", "-out", "redis.pem", *signed)
    return folder


@pytest.fixture
def server(tmp_path: Path, certificates: Path) -> Iterator[RedisServer]:
    tls = free_port()
    options = ["--tls-port", str(tls), "--tls-auth-clients", "no", "--unixsocket", str(tmp_path / "r.sock")]
    for option, name in (("cert", "redis.pem"), ("key", "redis.key"), ("ca-cert", "ca.pem")):
        options += [f"--tls-{option}-file", str(certificates / name)]
    server = RedisServer(tmp_path, *options)
    server.tls_port = tls
    yield server
    server.kill()


def health(node: Running) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{node.port}/healthz", timeout=10) as answer:
        return str(answer.read().decode())


def crosses(node: Running, server: RedisServer) -> None:
    """A message arrives through Redis, and another is sent."""
    until = time.monotonic() + 10
    member = Raw(node.connect())
    try:
        with server.client() as client, client.pubsub() as ear:
            while client.publish("fws:lobby", "in") != 1:
                assert time.monotonic() < until, health(node)
                time.sleep(0.02)
            assert member.receive() == (TEXT, b"in")
            ear.subscribe("fws:lobby")
            assert ear.get_message(timeout=5)["type"] == "subscribe"
            member.send(TEXT, b"out")
            assert ear.get_message(timeout=5)["data"].endswith(b"\nout")
        assert '"status":"ok"' in health(node)
    finally:
        member.sock.close()


def test_tls_with_a_certificate_that_is_trusted(serve: Serve, server: RedisServer, certificates: Path) -> None:
    toml = TOML % f'ca = "{certificates / "ca.pem"}"'
    crosses(serve(toml, REDIS_URL=f"rediss://127.0.0.1:{server.tls_port}"), server)


@pytest.mark.parametrize("ca", ["other.pem", ""])
def test_tls_with_a_certificate_that_is_not(serve: Serve, server: RedisServer, certificates: Path, ca: str) -> None:
    toml = TOML % (f'ca = "{certificates / ca}"' if ca else "")
    node = serve(toml, REDIS_URL=f"rediss://:s3cret@127.0.0.1:{server.tls_port}")
    node.wait_for("is away: its certificate is not trusted")
    assert '"status":"degraded"' in health(node)
    assert "its certificate is not trusted" in health(node)
    member = Raw(node.connect())
    member.send(TEXT, b"hello")
    assert member.receive() == (TEXT, b"hello")
    member.sock.close()
    assert "s3cret" not in node.output + health(node)


def test_tls_to_a_port_without_it(serve: Serve, server: RedisServer) -> None:
    node = serve(TOML % "", REDIS_URL=f"rediss://127.0.0.1:{server.port}")
    node.wait_for("is away: ")
    assert '"status":"degraded"' in health(node)


def test_a_unix_socket_with_a_user(serve: Serve, server: RedisServer, tmp_path: Path) -> None:
    """The user has only the permissions in docs/redis.md."""
    server.say("ACL", "SETUSER", "chat", "on", ">s3cret", "resetchannels", "&fws:*", "-@all", "+ping", "+select",
               "+publish", "+subscribe", "+unsubscribe", "+psubscribe")  # fmt: skip
    node = serve(TOML % "", REDIS_URL=f"unix://chat:s3cret@{tmp_path / 'r.sock'}")
    crosses(node, server)
    assert "s3cret" not in node.output


def test_a_wrong_password_is_reported_and_never_shown(serve: Serve, server: RedisServer) -> None:
    server.say("ACL", "SETUSER", "chat", "on", ">right", "~*", "&*", "+@all")
    node = serve(TOML % "", REDIS_URL=f"redis://chat:s3cret@127.0.0.1:{server.port}")
    node.wait_for("is away: it refuses the password")
    assert "it refuses the password" in health(node)
    server.say("ACL", "SETUSER", "chat", ">s3cret")
    crosses(node, server)
    assert "s3cret" not in node.output + health(node)


def test_a_missing_certificate_is_a_problem_of_the_file(serve: Serve) -> None:
    node = serve(TOML % 'ca = "nowhere.pem"', REDIS_URL="rediss://h", ready=False)
    node.wait_for("there is no file 'nowhere.pem'")
    assert node.process.wait(10) == 78


def test_an_address_that_is_none_is_a_problem_of_the_file(serve: Serve) -> None:
    node = serve(TOML % "", REDIS_URL="redis://user:s3cret", ready=False)
    node.wait_for("a port is a number")
    assert node.process.wait(10) == 78
    assert "s3cret" not in node.output
