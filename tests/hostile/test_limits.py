"""`[limits]`: a client over a limit gets a clear answer, and others do not notice."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.hostile.attack import ECHO, connect_from, descriptors, flood, repeat, status, until
from tests.hostile.bystander import Bystander
from tests.integration.conftest import Running, Serve
from tests.integration.raw import PING, TEXT, Raw, frame, request
from tests.integration.redis_server import RedisServer


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"], indirect=True)
def test_when_all_places_are_taken_others_get_503_and_a_time_to_come_back(serve: Serve) -> None:
    server = serve("[limits]\nclients = 5" + ECHO)
    seen: Counter[int] = Counter()

    def come() -> None:
        with server.connect() as sock:
            sock.sendall(request())
            got = sock.recv(4096)
            seen[int(got.split()[1])] += 1
            assert b"\r\nRetry-After: " in got

    with Bystander(server), contextlib.ExitStack() as stack:
        inside = [Raw(stack.enter_context(server.connect())) for _ in range(4)]
        repeat(come, hands=4)
        assert seen.keys() == {503}
        for raw in inside:
            raw.send(TEXT, b"undisturbed")
            assert raw.receive() == (TEXT, b"undisturbed")
    until(lambda: status(server) == 101)
    assert "Traceback" not in server.output


def test_silent_connections_over_the_limit_delay_nobody(serve: Serve) -> None:
    server = serve('[limits]\nclients = 3\nhandshake_timeout = "1s"' + ECHO)
    with Bystander(server), contextlib.ExitStack() as stack:
        inside = [Raw(stack.enter_context(server.connect())) for _ in range(2)]
        for _ in range(20):
            stack.enter_context(server.connect_tcp())
        for raw in inside:
            raw.send(TEXT, b"x")
            assert raw.receive() == (TEXT, b"x")
        inside[0].sock.close()
        until(lambda: status(server) == 101, 15)


@pytest.mark.parametrize("limits", ["clients_per_address = 3", 'connections_per_address = "3/s"'])
def test_an_address_has_its_share(serve: Serve, limits: str) -> None:
    server = serve(f"[limits]\nexempt = []\n{limits}{ECHO}")
    seen: Counter[bytes] = Counter()

    def come() -> None:
        with connect_from(server, "127.0.0.2") as sock, contextlib.suppress(ConnectionError):
            sock.sendall(request())
            got = sock.recv(4096)
            seen[got[9:12]] += 1
            assert got[9:12] != b"429" or b"\r\nRetry-After: " in got

    with Bystander(server), contextlib.ExitStack() as stack:
        inside = [Raw(stack.enter_context(connect_from(server, "127.0.0.2"))) for _ in range(3)]
        repeat(come, hands=4)
        assert seen[b"429"] > 20
        # A place is free for a second's third, now and then; where all are told already, the next gets no word.
        assert seen[b"101"] <= (0 if "clients" in limits else 9), seen
        assert seen.keys() <= {b"429", b"101", b""}
        inside[0].send(TEXT, b"x")
        assert inside[0].receive() == (TEXT, b"x")
        with connect_from(server, "127.0.0.3") as other:
            Raw(other)
    until(lambda: _from(server, "127.0.0.2") == b"101")


def _from(server: Running, address: str) -> bytes:
    with connect_from(server, address) as sock, contextlib.suppress(ConnectionError):
        sock.sendall(request())
        return sock.recv(4096)[9:12]
    return b""


def test_behind_a_proxy_the_share_is_that_of_the_clients_address(serve: Serve) -> None:
    server = serve('[server]\ntrusted_proxies = ["127.0.0.1"]\n[limits]\nexempt = []\nclients_per_address = 2' + ECHO)
    ann, bob = "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2"
    with Bystander(server), contextlib.ExitStack() as stack:
        for _ in range(2):
            Raw(stack.enter_context(server.connect()), "/", ann)

        def come() -> None:
            assert status(server, ann) == 429

        repeat(come, hands=4)
        Raw(stack.enter_context(server.connect()), "/", bob)
    until(lambda: status(server, ann) == 101)


LOGIN = """
from fws import Filter, Reject


class Login(Filter):
    waits = False

    def connect(self, client):
        if "user" in client.request.query:
            client.identity = {"user": client.request.query["user"]}
        elif client.path != "/":
            raise Reject(401)
"""


def test_failed_logins_and_users_have_their_bounds(serve: Serve) -> None:
    limits = '[limits]\nexempt = []\nfailed_logins = "3/min"\nclients_per_user = 2\n'
    limits += 'connections_per_address = "10000/s"\n'
    server = serve(limits + '[pipelines]\nconnect = ["login"]\nmessage = ["echo"]\n', pipelines={"login": LOGIN})
    with contextlib.ExitStack() as stack:
        stack.enter_context(Bystander(server))
        first = Raw(stack.enter_context(server.connect()), "/?user=ann")
        Raw(stack.enter_context(server.connect()), "/?user=ann")
        assert [status(server, path="/?user=ann") for _ in range(300)] == [429] * 300
        assert status(server, path="/?user=bob") == 101
        first.sock.close()
        until(lambda: status(server, path="/?user=ann") == 101)
        assert [status(server, path="/in") for _ in range(300)] == [401] * 3 + [429] * 297
        assert status(server, path="/?user=ann") == 429


@pytest.mark.parametrize(
    ("limit", "data", "most"),
    [('messages = "100/s"', frame(TEXT, b"x") * 50, 3), ('bytes = "64KiB"', frame(TEXT, b"x" * 125) * 50, 131)],
    ids=["messages", "bytes"],
)
def test_a_client_that_sends_too_much_is_read_more_slowly(serve: Serve, limit: str, data: bytes, most: int) -> None:
    """One second's worth at once, and then the rate per second, measured by the echoed bytes."""
    server = serve(f"[limits]\n{limit}{ECHO}")
    with Bystander(server, "/"), server.connect() as sock:
        Raw(sock)
        began = time.monotonic()
        _, heard = flood(sock, data, 1.0)
        seconds = time.monotonic() - began
    rate = 100 * 3 if limit.startswith("messages") else 64 * 1024
    # In one read there may be 16 KiB more than there should be, which is waited for later.
    assert rate * 0.5 < len(heard) < rate * (1 + seconds) + 16 * 1024


def test_a_silent_client_is_closed(serve: Serve) -> None:
    """Control frames are not messages, so that a client that only sends pings is idle."""
    server = serve('[limits]\nidle_timeout = "1s"\nping_interval = "500ms"' + ECHO)
    with Bystander(server), contextlib.ExitStack() as stack:
        idle = [Raw(stack.enter_context(server.connect())) for _ in range(100)]
        began = time.monotonic()
        while time.monotonic() - began < 0.5:
            for raw in idle[:50]:
                raw.send(PING, b"here")
            time.sleep(0.05)
        for raw in idle:
            assert raw.close_code()[0] == 1008
            raw.sock.close()
    assert "Traceback" not in server.output


FEW_FILES = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from fws.__main__ import main
main()
"""
NODE = """
[redis]
url = "{url}"
[pipelines]
message = ["echo"]
[endpoints."/all"]
connect = ["join all"]
message = ["log", "broadcast all"]
"""


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"], indirect=True)
def test_400_clients_with_256_files_are_admitted_or_refused_and_nothing_leaks(serve: Serve, tmp_path: Path) -> None:
    """Fault R7 of gevent-websocket: clients got no answer, and no descriptor was left for anything else."""
    redis = RedisServer(tmp_path / "redis")
    try:
        toml = NODE.format(url=redis.url)
        server, other = serve(toml, program=("-c", FEW_FILES)), serve(toml)
        before = descriptors(server)
        answers: Counter[bytes] = Counter()
        inside: list[Raw] = []
        with Bystander(server), other.connect() as far, contextlib.ExitStack() as stack:
            neighbour = Raw(far, "/all")
            for _ in range(400):
                sock = stack.enter_context(server.connect())
                try:
                    inside.append(Raw(sock, "/all"))
                    answers[b"101"] += 1
                except (AssertionError, ConnectionError) as error:
                    answers[b"503" if "HTTP/1.1 503" in str(error) else str(error).encode()] += 1
                    sock.close()
            assert answers.keys() == {b"101", b"503"}, answers
            assert answers[b"101"] > 100
            assert descriptors(server) < 240
            # Redis and the log have theirs, also when the connections to Redis are to be made anew.
            redis.say("CLIENT", "KILL", "TYPE", "normal")
            redis.say("CLIENT", "KILL", "TYPE", "pubsub")
            inside[0].send(TEXT, b"is anybody there?")
            server.wait_for("is anybody there")
            for raw in inside:
                assert raw.receive() == (TEXT, b"is anybody there?")

            inside[1].sock.settimeout(0.5)

            def reached() -> bool:
                neighbour.send(TEXT, b"from afar")
                with contextlib.suppress(TimeoutError):
                    return inside[1].receive() == (TEXT, b"from afar")
                return False

            until(reached)
        assert until(lambda: status(server) == 101) < 2
        until(lambda: descriptors(server) <= before + 1)
        assert "Traceback" not in server.output
        assert len(server.lines) < 80
    finally:
        redis.kill()
