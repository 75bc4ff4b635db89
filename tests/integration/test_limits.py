"""`[limits]` with real sockets: who is refused, that nobody else suffers, and that nothing is left of who has gone."""

from __future__ import annotations

import contextlib
import json
import os
import time
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from tests.integration.conftest import Running, Serve
from tests.integration.raw import BINARY, TEXT, Raw, frame, request

ECHO = '\n[pipelines]\nmessage = ["echo"]\n'


def answer_of(server: Running, *lines: str) -> bytes:
    """The head of what an upgrade request is answered with; empty when the connection is closed."""
    with server.connect() as sock, contextlib.suppress(ConnectionError):
        sock.sendall(request("/", *lines))
        return sock.recv(4096)
    return b""


def clients_of(server: Running) -> int:
    return int(json.load(urllib.request.urlopen(server.page + "/healthz", context=server.tls))["clients"])


def until(condition: object, seconds: float = 10) -> float:
    begin = time.monotonic()
    while not condition():  # type: ignore[operator]
        assert time.monotonic() - begin < seconds
        time.sleep(0.02)
    return time.monotonic() - begin


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"], indirect=True)
def test_when_all_places_are_taken_others_get_503_and_a_time_to_come_back(serve: Serve) -> None:
    server = serve("[limits]\nclients = 5" + ECHO)
    with contextlib.ExitStack() as stack:
        inside = [Raw(stack.enter_context(server.connect())) for _ in range(5)]
        for _ in range(40):
            got = answer_of(server)
            assert got.startswith(b"HTTP/1.1 503 "), got
            assert b"\r\nRetry-After: " in got
        for raw in inside:
            raw.send(TEXT, b"undisturbed")
            assert raw.receive() == (TEXT, b"undisturbed")
    until(lambda: answer_of(server).startswith(b"HTTP/1.1 101 "))
    assert "Traceback" not in server.output


def test_who_asks_for_nothing_when_all_places_are_taken_holds_up_nobody(serve: Serve) -> None:
    server = serve("[limits]\nclients = 2" + ECHO)
    with contextlib.ExitStack() as stack:
        inside = [Raw(stack.enter_context(server.connect())) for _ in range(2)]
        for _ in range(60):
            stack.enter_context(server.connect_tcp())
        for raw in inside:
            raw.send(TEXT, b"x")
            assert raw.receive() == (TEXT, b"x")
        inside[0].sock.close()
        until(lambda: answer_of(server).startswith(b"HTTP/1.1 101 "), 15)


@pytest.mark.parametrize(
    ("limits", "status"),
    [("clients_per_address = 3", b"429"), ('connections_per_address = "3/s"', b"429")],
)
def test_an_address_has_its_share(serve: Serve, limits: str, status: bytes) -> None:
    server = serve(f"[limits]\nexempt = []\n{limits}{ECHO}")
    with contextlib.ExitStack() as stack:
        inside = [Raw(stack.enter_context(server.connect())) for _ in range(3)]
        got = answer_of(server)
        assert got.startswith(b"HTTP/1.1 " + status), got
        assert b"\r\nRetry-After: " in got
        inside[0].send(TEXT, b"x")
        assert inside[0].receive() == (TEXT, b"x")
    until(lambda: answer_of(server).startswith(b"HTTP/1.1 101 "))


def test_behind_a_proxy_the_share_is_that_of_the_clients_address(serve: Serve) -> None:
    server = serve('[server]\ntrusted_proxies = ["127.0.0.1"]\n[limits]\nexempt = []\nclients_per_address = 2' + ECHO)
    ann, bob = "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2"
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            Raw(stack.enter_context(server.connect()), "/", ann)
        assert answer_of(server, ann).startswith(b"HTTP/1.1 429 ")
        Raw(stack.enter_context(server.connect()), "/", bob)
    until(lambda: answer_of(server, ann).startswith(b"HTTP/1.1 101 "))


LOGIN = """
from fws import Filter, Reject


class Login(Filter):
    waits = False

    def connect(self, client):
        if "user" not in client.request.query:
            raise Reject(401)
        client.identity = {"user": client.request.query["user"]}
"""


def test_failed_logins_and_users_have_their_bounds(serve: Serve) -> None:
    limits = '[limits]\nexempt = []\nfailed_logins = "3/min"\nclients_per_user = 2\n'
    server = serve(limits + '[pipelines]\nconnect = ["login"]\n', pipelines={"login": LOGIN})

    def status(path: str) -> int:
        with server.connect() as sock:
            sock.sendall(request(path))
            return int(sock.recv(4096).split()[1])

    with contextlib.ExitStack() as stack:
        first = Raw(stack.enter_context(server.connect()), "/?user=ann")
        Raw(stack.enter_context(server.connect()), "/?user=ann")
        assert status("/?user=ann") == 429
        assert status("/?user=bob") == 101
        first.sock.close()
        until(lambda: status("/?user=ann") == 101)
    assert [status("/") for _ in range(5)] == [401, 401, 401, 429, 429]
    assert status("/?user=ann") == 429


FEW_FILES = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from fws.__main__ import main
main()
"""


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"], indirect=True)
def test_with_256_files_400_clients_are_let_in_or_told_and_all_is_well_when_they_leave(serve: Serve) -> None:
    """gevent-websocket's R7: nobody was told, and there was no descriptor left for anything else."""
    server = serve(ECHO, program=("-c", FEW_FILES))
    folder = Path(f"/proc/{server.process.pid}/fd")
    before = len(os.listdir(folder))
    answers: Counter[bytes] = Counter()
    inside: list[Raw] = []
    with contextlib.ExitStack() as stack:
        for _ in range(400):
            sock = stack.enter_context(server.connect())
            try:
                inside.append(Raw(sock))
                answers[b"101"] += 1
            except (AssertionError, ConnectionError) as error:
                answers[b"503" if "HTTP/1.1 503" in str(error) else str(error).encode()] += 1
                sock.close()
        assert answers.keys() == {b"101", b"503"}, answers
        assert answers[b"101"] > 150
        assert len(os.listdir(folder)) < 240
        for raw in inside:
            raw.send(TEXT, b"undisturbed")
        for raw in inside:
            assert raw.receive() == (TEXT, b"undisturbed")
    assert until(lambda: answer_of(server).startswith(b"HTTP/1.1 101 "), 10) < 2
    until(lambda: len(os.listdir(folder)) <= before + 1)
    assert "Traceback" not in server.output
    assert len(server.lines) < 60


COUNTS = """
from fws import Filter


class Counts(Filter):
    waits = False

    def connect(self, client):
        client.send(self.hub.metrics.all())
"""


def test_what_is_refused_is_counted_under_the_name_of_the_reason(serve: Serve) -> None:
    server = serve(f'[endpoints."/counts"]\nconnect = ["counts"]{ECHO}', pipelines={"counts": COUNTS})
    answer_of(server, "Origin: https://elsewhere.example")
    for wrong in (frame(TEXT, b"\xff"), frame(BINARY, bytes(1024**2 + 1)), b"\x81\x00"):
        with server.connect() as sock:
            raw = Raw(sock)
            with contextlib.suppress(ConnectionError):
                sock.sendall(wrong)
            raw.close_code()
    with server.connect_tcp() as sock:
        sock.sendall(b"GET / HTTP/0.9\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 505 ")
    with server.connect() as sock:
        counts = json.loads(Raw(sock, "/counts").receive()[1])
    expected = {
        "origins_refused": 1,
        "refused_403": 1,
        "refused_505": 1,
        "protocol_errors": 3,
        "protocol_errors_1002": 1,
        "protocol_errors_1007": 1,
        "protocol_errors_1009": 1,
    }
    assert {name: counts.get(name) for name in expected} == expected
