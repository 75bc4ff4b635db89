"""TLS to every kind of Redis, Sentinels with a password of their own, and reasons that are named correctly."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.cli.command import fws
from tests.integration.conftest import Running, Serve
from tests.integration.raw import TEXT, Raw
from tests.integration.redis_server import RedisServer, free_port
from tests.integration.test_redis_kinds import health

TOML = """
[redis]
url = "${REDIS_URL}"
%s
[pipelines]
connect = ["join lobby"]
message = ["broadcast lobby"]
"""


def tls_options(authority: Authority, port: int, clients: str = "no") -> list[str]:
    cert, key = authority.sign("redis")
    options = ["--tls-port", str(port), "--tls-auth-clients", clients]
    for option, file in (("cert", cert), ("key", key), ("ca-cert", authority.file)):
        options += [f"--tls-{option}-file", str(file)]
    return options


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def server(tmp_path: Path, authority: Authority, request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A Redis with TLS; the parameter says whether it asks for client certificates."""
    port = free_port()
    server = RedisServer(tmp_path / "redis", *tls_options(authority, port, getattr(request, "param", "no")))
    server.tls_port = port
    yield server
    server.kill()


def reached(node: Running) -> str:
    """The health of the node as soon as it is connected, or after the time limit."""
    until = time.monotonic() + 10
    while '"status":"ok"' not in (found := health(node)) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def two_nodes_talk(serve: Serve, toml: str, url: str) -> None:
    """A message of one node's client reaches the other's."""
    nodes = [serve(toml, REDIS_URL=url) for _ in range(2)]
    for node in nodes:
        assert '"status":"ok"' in reached(node), node.output
    one, two = (Raw(node.connect()) for node in nodes)
    until = time.monotonic() + 10
    two.sock.settimeout(0.2)
    while True:
        one.send(TEXT, b"hello")
        try:
            assert two.receive() == (TEXT, b"hello")
            break
        except TimeoutError:
            assert time.monotonic() < until, [node.output for node in nodes]
    for peer in (one, two):
        peer.sock.close()


def fingerprint(port: int) -> str:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port)) as raw, context.wrap_socket(raw) as tls:
        return sha256(tls.getpeercert(binary_form=True) or b"").hexdigest()


def test_a_self_signed_certificate_needs_no_authority_when_asked_so(serve: Serve, server: RedisServer) -> None:
    """Fault: Heroku's Redis could not be used, because the verification could not be skipped or pinned."""
    url = f"rediss://127.0.0.1:{server.tls_port}"
    two_nodes_talk(serve, TOML % 'verify = "none"', url)
    node = serve(TOML % "", REDIS_URL=f"{url}?ssl_cert_reqs=none")
    assert '"status":"ok"' in reached(node)
    assert "can read and forge everything" in node.output


def test_a_pinned_certificate_is_the_only_one(serve: Serve, server: RedisServer) -> None:
    port = server.tls_port
    right = fingerprint(port)
    two_nodes_talk(serve, TOML % f'fingerprint = "{right}"', f"rediss://127.0.0.1:{port}")
    node = serve(TOML % f'fingerprint = "{right[::-1]}"', REDIS_URL=f"rediss://127.0.0.1:{port}")
    node.wait_for(f"is away: it has another certificate, whose fingerprint is {right}")


def test_the_authority_without_the_host_name(serve: Serve, server: RedisServer, authority: Authority) -> None:
    """A certificate for `localhost` and 127.0.0.1, while the server is reached at 127.0.0.2."""
    port = server.tls_port
    server.say("CONFIG", "SET", "bind", "127.0.0.1 127.0.0.2")
    url = f"rediss://127.0.0.2:{port}"
    assert '"status":"ok"' in reached(serve(TOML % f'ca = "{authority.file}"\nverify = "ca"', REDIS_URL=url))
    serve(TOML % f'ca = "{authority.file}"', REDIS_URL=url).wait_for("is away: its certificate is not trusted")


@pytest.mark.parametrize("server", ["yes"], indirect=True)
def test_a_client_certificate(serve: Serve, server: RedisServer, authority: Authority) -> None:
    cert, key = authority.sign("node")
    url = f"rediss://127.0.0.1:{server.tls_port}"
    two_nodes_talk(serve, TOML % f'ca = "{authority.file}"\ncert = "{cert}"\nkey = "{key}"', url)
    without = serve(TOML % f'ca = "{authority.file}"', REDIS_URL=url)
    without.wait_for("is away: .*set cert and key in")


def test_publishing_from_the_command_line(tmp_path: Path, server: RedisServer, authority: Authority) -> None:
    conf = tmp_path / "conf.toml"
    conf.write_text(TOML % 'ca = "authority.pem"')
    url = f"rediss://127.0.0.1:{server.tls_port}"
    assert fws("publish", conf, "lobby", "hello", REDIS_URL=url).returncode == 0
    conf.write_text(TOML % "")
    done = fws("publish", conf, "lobby", "hello", REDIS_URL=url)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "its certificate is not trusted" in done.stderr


class Sentinels:
    """A master and one Sentinel with different passwords, with or without TLS."""

    def __init__(self, folder: Path, authority: Authority | None) -> None:
        tls = [] if authority is None else ["--tls-replication", "yes"]
        ports = [free_port() for _ in range(4)]
        self.scheme = "redis" if authority is None else "rediss"
        self.redis = RedisServer(
            folder / "master", *([] if authority is None else tls_options(authority, ports[0])), *tls
        )
        self.redis.say("CONFIG", "SET", "requirepass", "master")
        self.redis.password = "master"
        port = self.redis.port if authority is None else ports[0]
        place = folder / "sentinel"
        place.mkdir()
        (place / "sentinel.conf").write_text(
            f"sentinel monitor chat 127.0.0.1 {port} 1\nsentinel auth-pass chat master\nrequirepass sentinel\n"
        )
        self.sentinel = Sentinel(place, *([] if authority is None else tls_options(authority, ports[1])), *tls)
        self.port = self.sentinel.port if authority is None else ports[1]

    @property
    def url(self) -> str:
        return f"{self.scheme}+sentinel://:master@127.0.0.1:{self.port}/chat/0"

    def kill(self) -> None:
        self.sentinel.kill()
        self.redis.kill()


class Sentinel(RedisServer):
    """A Sentinel with a password."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder, *options, start=False)
        self.password = "sentinel"
        self.start()

    def command(self, *options: str) -> list[str]:
        words = ["redis-sentinel", str(self.folder / "sentinel.conf"), "--port", str(self.port)]
        return [*words, "--bind", "127.0.0.1", *self.options, *options]


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "over TLS"])
def test_sentinels_with_a_password_of_their_own(
    serve: Serve, tmp_path: Path, authority: Authority, secure: bool
) -> None:
    """Fault: neither their password nor TLS to them could be configured."""
    group = Sentinels(tmp_path / "group", authority if secure else None)
    try:
        ca = f'ca = "{authority.file}"' if secure else ""
        two_nodes_talk(serve, TOML % f'{ca}\nsentinel_password = "sentinel"', group.url)
        node = serve(TOML % f'{ca}\nsentinel_password = "wrong"', REDIS_URL=group.url)
        node.wait_for(f"is away: the Sentinel 127.0.0.1:{group.port} cannot be asked: it refuses the password")
        node = serve(TOML % ca, REDIS_URL=group.url)
        node.wait_for("cannot be asked: it asks for a password")
        conf = tmp_path / "conf.toml"
        conf.write_text(TOML % ca)
        done = fws("publish", conf, "lobby", "hello", REDIS_URL=group.url)
        assert "it asks for a password" in done.stderr, done.stderr
        assert (done.returncode, done.stderr.count("\n"), "master" in done.stderr) == (1, 1, False)
        conf.write_text(TOML % f'{ca}\nsentinel_password = "sentinel"')
        assert fws("publish", conf, "lobby", "hello", REDIS_URL=group.url).returncode == 0
    finally:
        group.kill()


def test_a_cluster_over_tls(serve: Serve, tmp_path: Path, authority: Authority) -> None:
    """Fault: a Cluster over TLS could not be written as an address."""
    port, bus = free_port(), free_port()
    options = [
        "--cluster-enabled",
        "yes",
        "--tls-cluster",
        "yes",
        "--tls-replication",
        "yes",
        "--cluster-port",
        str(bus),
    ]
    server = RedisServer(tmp_path / "cluster", *tls_options(authority, port), *options)
    try:
        server.say("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        server.say("CONFIG", "SET", "cluster-announce-ip", "127.0.0.1")
        two_nodes_talk(serve, TOML % f'ca = "{authority.file}"', f"rediss+cluster://127.0.0.1:{port}")
    finally:
        server.kill()


def test_a_node_that_stops_while_redis_is_away_reports_unsent_publications(serve: Serve, tmp_path: Path) -> None:
    """Fault: the log said that Redis was back and nothing was lost, while it had never come back."""
    server = RedisServer(tmp_path / "redis")
    node = serve(TOML % "", REDIS_URL=server.url)
    assert '"status":"ok"' in reached(node)
    member = Raw(node.connect())
    server.kill()
    node.wait_for("is away")
    for _ in range(3):
        member.send(TEXT, b"hello")
        assert member.receive() == (TEXT, b"hello")
    assert node.stop() == 0
    member.sock.close()
    assert "is back" not in node.output
    assert "3 publications (" in node.output
    assert f"for other nodes were not sent, because Redis redis://127.0.0.1:{server.port} was away" in node.output
