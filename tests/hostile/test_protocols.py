"""Unknown clients of the protocol centrifuge: over WebSockets, over plain HTTP, and at the path for commands."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.attack import ECHO, answer, clients, descriptors, flood, meanwhile, memory, repeat, until
from tests.hostile.bystander import Bystander
from tests.integration.conftest import Running, Serve
from tests.integration.raw import CLOSE, TEXT, Raw, frame

MIB = 1024
CONF = (
    """
[limits]
handshake_timeout = "2s"
close_timeout = "1s"
max_outbox = "256KiB"
clients_per_address = 10000
connections_per_address = "100000/s"
bytes = "100MiB"
messages = "100000/s"
[endpoints."/c"]
protocol = "centrifuge"
connect = ["join lobby"]
message = ["when call.kind != 'publish'"]
[endpoints."/patient"]
protocol = "centrifuge"
message = ["patient"]
[endpoints."/login"]
protocol = "centrifuge"
connect = ["jwt HS256 0123456789abcdef0123456789abcdef0123"]
[endpoints."/trusting"]
protocol = "centrifuge"
origins = ["https://friend.example"]
[endpoints."/everybody"]
protocol = "centrifuge"
origins = ["*"]
[endpoints."/events"]
transports = ["websocket", "sse"]
connect = ["join lobby"]
[endpoints."/say"]
message = ["publish lobby"]
[channels."lobby"]
history = 10
[channels."open:*"]
subscribe = "channel != ''"
"""
    + ECHO
)
PATIENT = """
import gevent
from fws import Filter


class Patient(Filter):
    def message(self, client, message):
        gevent.sleep(0.2)
"""
CONNECT = {"id": 1, "connect": {}}


@pytest.fixture(scope="module")
def server(shared: dict[bool, Serve]) -> Iterator[Running]:
    server = shared[False](CONF, pipelines={"patient": PATIENT})
    yield server
    assert "Traceback" not in server.output, server.output


def post(path: str, body: str | bytes, *lines: str) -> bytes:
    """A request with a body."""
    data = body.encode() if isinstance(body, str) else body
    head = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(data)}", *lines]
    return "\r\n".join([*head, "", ""]).encode() + data


def get(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


class Stream:
    """A response that carries a client."""

    def __init__(self, server: Running, request: bytes) -> None:
        self.sock = server.connect()
        self.sock.sendall(request)
        self.got = b""
        self.head = self.until(b"\r\n\r\n")

    def until(self, mark: bytes) -> str:
        """What arrives up to a mark; all of it if the stream ends before that."""
        while mark not in self.got:
            data = self.sock.recv(65536)
            if not data:
                break
            self.got += data
        found, _, self.got = self.got.partition(mark)
        return found.decode()

    def line(self) -> Any:
        return json.loads(self.until(b"\n"))

    def close(self) -> None:
        self.sock.close()


def http_stream(server: Running, path: str = "/c", *lines: str) -> Stream:
    return Stream(server, post(path, json.dumps(CONNECT), *lines))


def emulate(server: Running, body: str | bytes, *lines: str) -> int:
    """The status of the answer at the path for commands."""
    with server.connect() as sock:
        sock.sendall(post("/emulation", body, *lines))
        return int(sock.recv(65536).split()[1])


def connected(sock: socket.socket, path: str = "/c") -> Raw:
    raw = Raw(sock, path)
    raw.send(TEXT, json.dumps(CONNECT).encode())
    opcode, payload = raw.receive()
    assert (opcode, b'"connect"' in payload) == (TEXT, True), payload
    return raw


# Over WebSockets.

LINES = {
    "pongs": b"{}\n" * 1999 + b"{}",
    "pings": b'{"id":1,"ping":{}}\n' * 1999 + b"{}",
    "subscriptions": b"\n".join(b'{"id":%d,"subscribe":{"channel":"open:%d"}}' % (n, n) for n in range(1, 2000)),
    "the same subscription": b'{"id":9,"subscribe":{"channel":"open:a"}}\n' * 1999 + b"{}",
    "refusals": b"\n".join(b'{"id":%d,"subscribe":{"channel":"no%d"}}' % (n, n) for n in range(1, 2000)),
    "histories": b'{"id":9,"history":{"channel":"lobby","limit":-1}}\n' * 1999 + b"{}",
    "publications": b'{"id":9,"publish":{"channel":"lobby","data":1}}\n' * 1999 + b"{}",
    "calls": b'{"id":9,"rpc":{"method":"m","data":{"a":[1,2,3]}}}\n' * 1999 + b"{}",
    "many brackets": b'{"id":9,"rpc":{"data":[' + b"[]," * 19_000 + b"0]}}",
    "many numbers": b'{"id":9,"rpc":{"data":[' + b"1," * 400_000 + b"0]}}",
    "many escapes": b'{"id":9,"rpc":{"data":"' + b"\\\\" * 400_000 + b'\\ud83d"}}',
    "empty lines": b"\n" * 1999,
}


@pytest.mark.parametrize("kind", LINES)
def test_a_flood_of_lines(server: Running, kind: str) -> None:
    for number in range(50):
        with server.connect() as sock:
            Raw(sock, "/say").send(TEXT, b"x" * 100 + b"%d" % number)
    before = memory(server)
    data = frame(TEXT, LINES[kind])
    with Bystander(server), server.connect() as first, server.connect() as second:
        for sock in (first, second):
            connected(sock)
        with meanwhile(lambda _: flood(first, data)):
            flood(second, data, reads=False)
    assert memory(server) - before < 60 * MIB


BROKEN = {
    "no JSON": b"hello",
    "deep": b'{"id":1,"rpc":{"data":' + b"[" * 100_000,
    "too many brackets": b'{"id":1,"rpc":{"data":[' + b"[]," * 300_000 + b"0]}}",
    "no id": b'{"subscribe":{"channel":"a"}}',
    "no connect": b'{"id":1,"subscribe":{"channel":"a"}}',
    "a long token": b'{"id":1,"connect":{"token":"' + b"x" * 9000 + b'"}}',
    "a large id": b'{"id":4294967296,"connect":{}}',
    "halves": b'{"id":1,"connect":{"token":"\\ud83d' + b"\\ud83d" * 100_000 + b'"}}',
}


@pytest.mark.parametrize("kind", BROKEN)
def test_who_breaks_the_protocol_is_ended(server: Running, kind: str) -> None:
    with Bystander(server):
        for _ in range(5):
            with server.connect() as sock:
                raw = Raw(sock, "/c")
                raw.send(TEXT, BROKEN[kind])
                opcode, payload = raw.receive()
                assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, 3501)


def test_positions_of_many_channels(server: Running) -> None:
    subs = {f"c{number}": {"recover": True, "epoch": "x" * 32, "offset": 10**12} for number in range(11_000)}
    data = json.dumps({"id": 1, "connect": {"subs": subs}}, separators=(",", ":")).encode()
    assert len(data) < 1 << 20
    before = memory(server)
    with Bystander(server), contextlib.ExitStack() as stack:
        for _ in range(30):
            raw = Raw(stack.enter_context(server.connect()), "/c")
            raw.send(TEXT, data)
            assert b'"connect"' in raw.receive()[1]
        assert memory(server) - before < 40 * MIB


# Over plain HTTP.


def test_clients_that_do_not_connect_are_ended(server: Running) -> None:
    files = descriptors(server)
    with Bystander(server), contextlib.ExitStack() as stack:
        streams = [
            stack.enter_context(contextlib.closing(Stream(server, post("/c", body, f"Accept: {accept}"))))
            for body in ("", "\n\n\n", "{}\n{}")
            for accept in ("text/event-stream", "*/*")
            for _ in range(20)
        ]
        for stream in streams:
            assert "200 OK" in stream.head
            assert '"code":3502' in stream.until(b"never")
    until(lambda: descriptors(server) <= files + 1)


def test_a_body_that_does_not_arrive(server: Running) -> None:
    files = descriptors(server)
    with Bystander(server), contextlib.ExitStack() as stack:
        socks = [stack.enter_context(server.connect()) for _ in range(50)]
        for number, sock in enumerate(socks):
            sock.sendall(post(("/c", "/emulation")[number % 2], b"x" * 100_000)[:-1])
        for sock in socks:
            assert b" 408 " in answer(sock, b"")
    until(lambda: descriptors(server) <= files + 1)


@pytest.mark.parametrize("path", ["/c", "/events"])
def test_streams_that_nobody_reads(server: Running, path: str) -> None:
    before, others = memory(server), clients(server)
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            sock = stack.enter_context(server.connect())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.sendall(get(path, "Accept: text/event-stream") if path != "/c" else post(path, json.dumps(CONNECT)))
        speaker = Raw(stack.enter_context(server.connect()), "/say")
        time.sleep(0.1)
        with Bystander(server):
            for _ in range(200):
                speaker.send(TEXT, b"x" * 50_000)
                time.sleep(0.005)
        until(lambda: clients(server) <= others + 1)
        assert memory(server) - before < 20 * MIB


def test_a_request_behind_a_stream_is_not_read(server: Running) -> None:
    """What follows the body cannot be taken for another request, or for commands."""
    smuggled = post("/c", json.dumps(CONNECT)) + get("/healthz") + b'{"id":2,"ping":{}}\n'
    with contextlib.closing(Stream(server, smuggled)) as stream:
        assert stream.line()["id"] == 1
        stream.sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            stream.until(b"never")
        assert stream.got == b""


BODIES = {
    "two lengths": ["Content-Length: 5", "Content-Length: 6"],
    "chunked": ["Transfer-Encoding: chunked"],
    "a length and chunks": ["Content-Length: 5", "Transfer-Encoding: chunked"],
    "no number": ["Content-Length: +5"],
    "too large": ["Content-Length: 99999999"],
}


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("path", ["/c", "/emulation"])
def test_bodies_whose_end_is_unclear(server: Running, path: str, kind: str) -> None:
    head = "\r\n".join([f"POST {path} HTTP/1.1", "Host: localhost", *BODIES[kind], "", ""])
    with server.connect() as sock:
        got = answer(sock, head.encode() + b"5\r\nhello\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 4") or got.startswith(b"HTTP/1.1 501")
    assert got.count(b"HTTP/1.1 ") == 1


def test_a_get_with_a_body_and_an_upgrade_with_one(server: Running) -> None:
    for head in (
        get("/events", "Accept: text/event-stream", "Content-Length: 5")[: -0 or None] + b"hello",
        post("/c", "hello", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
    ):
        with server.connect() as sock:
            got = answer(sock, head + get("/healthz"))
        assert got.startswith(b"HTTP/1.1 4")
        assert got.count(b"HTTP/1.1 ") == 1


# Texts that could end a line.

EVIL = ["a\rb", "a\nb", "a\r\nb", "\n\ndata: forged", "\u2028\u2029\u0085", 'x", "b', "\0"]


@pytest.mark.parametrize("accept", ["text/event-stream", "*/*"])
def test_names_and_messages_cannot_forge_a_line(server: Running, accept: str) -> None:
    commands = [{"id": 2 + n, "subscribe": {"channel": one}} for n, one in enumerate(EVIL)]
    body = "\n".join(json.dumps(one) for one in [CONNECT, *commands])
    with contextlib.closing(Stream(server, post("/c", body, f"Accept: {accept}"))) as stream, server.connect() as sock:
        end = b"\n\n" if accept == "text/event-stream" else b"\n"
        for number in range(len(commands) + 1):
            text = stream.until(end).removeprefix("data: ")
            assert json.loads(text)["id"] == number + 1
        speaker = Raw(sock, "/say")
        for one in EVIL:
            speaker.send(TEXT, one.encode())
            text = stream.until(end).removeprefix("data: ")
            assert json.loads(text)["push"]["pub"]["data"] == one


def test_a_last_event_id_is_not_repeated(server: Running) -> None:
    for last in ("forged", "%0d%0adata: x", "a:1:2", "é", "x" * 4000):
        request = get("/events", f"Last-Event-ID: {last}")
        with contextlib.closing(Stream(server, request)) as stream:
            event = stream.until(b"\n\n")
            assert last not in stream.head + event
            assert "gap" in event


# Pages of other sites.

ORIGINS = (
    "https://evil.example",
    "null",
    "https://localhost.evil.example",
    "http://localhost:1",
    "é",
    "https://friend.example.",
)


@pytest.mark.parametrize("origin", ORIGINS)
def test_pages_of_other_sites_get_no_stream(server: Running, origin: str) -> None:
    for request in (
        post("/c", json.dumps(CONNECT), f"Origin: {origin}"),
        get("/c?cf_connect=%7B%7D", f"Origin: {origin}", "Accept: text/event-stream"),
        get("/events", f"Origin: {origin}"),
    ):
        with server.connect() as sock:
            got = answer(sock, request)
        assert got.startswith(b"HTTP/1.1 403 "), got
        assert b"Access-Control" not in got
    for path in ("/c", "/trusting", "/emulation"):
        preflight = f"OPTIONS {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\nConnection: close\r\n\r\n"
        with server.connect() as sock:
            got = answer(sock, preflight.encode("latin-1"))
        # One endpoint lets everybody in, so that everybody may send to the path for commands, but not with cookies.
        assert b"Access-Control-Allow-Credentials" not in got, got
        assert (b"Access-Control-Allow-Origin" in got) is (path == "/emulation")


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_an_image_of_another_site_opens_no_stream(server: Running, site: str) -> None:
    """Fault: a browser sends such a GET with cookies and without `Origin`, and it has commands with it."""
    lines = f"Sec-Fetch-Site: {site}", "Sec-Fetch-Mode: no-cors", "Cookie: token=x"
    for path in ("/c?cf_connect=%7B%22id%22%3A1%2C%22connect%22%3A%7B%7D%7D", "/events"):
        with server.connect() as sock:
            assert answer(sock, get(path, *lines)).startswith(b"HTTP/1.1 403 ")


def test_a_friend_gets_its_headers_also_when_it_is_refused(server: Running) -> None:
    """Fault: a request with a query got none, so that the page could not read the status."""
    friend = "Origin: https://friend.example"
    with server.connect() as sock:
        got = answer(sock, get("/trusting?cf_connect=1&a=%ff", friend, "Accept: text/event-stream", "Content-Type: x"))
    assert b"Access-Control-Allow-Origin: https://friend.example\r\n" in got
    with server.connect() as sock:
        got = answer(sock, post("/trusting?a=1", b"\xff", friend, "Connection: close"))
    assert got.startswith(b"HTTP/1.1 400 ")
    assert b"Access-Control-Allow-Origin: https://friend.example\r\n" in got
    assert b"Access-Control-Allow-Credentials: true\r\n" in got


# The path for commands.


def test_foreign_sessions_cannot_be_used(server: Running) -> None:
    with contextlib.closing(http_stream(server)) as stream:
        reply = stream.line()["connect"]
        session, node, client = reply["session"], reply["node"], reply["client"]
        assert len(session) >= 32
        ping = '{"id":2,"ping":{}}'
        for wrong in (session[:-1], session[:-1] + "!", session.swapcase(), client, node, "x"):
            assert emulate(server, json.dumps({"session": wrong, "node": node, "data": ping})) == 204
        assert emulate(server, json.dumps({"session": "", "node": node, "data": ping})) == 400
        assert emulate(server, json.dumps({"session": session, "node": "elsewhere", "data": ping})) == 204
        assert stream.line() == {"id": 2, "ping": {}}
        stream.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            stream.until(b"never")


HOSTILE_BODIES = {
    "nothing": b"",
    "bytes": b"\xff\xfe",
    "a list": b"[]",
    "deep": b'{"session":"x","data":{"a":' + b"[" * 200_000,
    "brackets": b'{"session":"x","data":{"a":[' + b"[]," * 300_000 + b"0]}}",
    "many numbers": b'{"session":"x","data":5,"more":[' + b"1," * 400_000 + b"0]}",
    "a long session": b'{"session":"' + b"x" * 1_000_000 + b'","data":""}',
    "halves": b'{"session":"x","data":"' + b"\\ud83d" * 150_000 + b'"}',
}


@pytest.mark.parametrize("kind", HOSTILE_BODIES)
def test_bodies_that_are_hostile(server: Running, kind: str) -> None:
    """Fault: lists in a command that was not in a text were decoded without limits, for half a second."""
    body = HOSTILE_BODIES[kind]
    before = memory(server)

    def come() -> None:
        assert emulate(server, body) == 400

    with Bystander(server):
        repeat(come, hands=2)
    assert memory(server) - before < 40 * MIB


def test_requests_that_wait_for_a_busy_client_disturb_nobody(server: Running) -> None:
    """Fault: each of them looked a hundred times a second whether the client was free."""
    with contextlib.closing(http_stream(server, "/patient")) as stream:
        reply = stream.line()["connect"]
        send = '{"id":2,"send":{}}\n' * 20
        body = json.dumps({"session": reply["session"], "node": reply["node"], "data": send})
        with Bystander(server), contextlib.ExitStack() as stack:
            socks = [stack.enter_context(server.connect()) for _ in range(60)]
            for sock in socks:
                sock.sendall(post("/emulation", body, "Connection: close"))
            began = time.monotonic()
            statuses = sorted(answer(sock, b"")[9:12] for sock in socks[::-1])
            assert statuses.count(b"503") >= 45
            assert time.monotonic() - began < 10


# The log.


def test_tokens_are_not_logged_and_refusals_are_few(serve: Serve) -> None:
    server = serve(CONF, "--log-level", "info", pipelines={"patient": PATIENT})
    token = "s3cret.t0ken"

    def come() -> None:
        with server.connect() as sock:
            raw = Raw(sock, "/login")
            raw.send(TEXT, json.dumps({"id": 1, "connect": {"token": token, "data": token}}).encode())
            assert raw.close_code()[0] == 3500
        with server.connect() as sock:
            sock.sendall(post("/login?token=" + token, json.dumps({"id": 1, "connect": {"token": token}})))
            assert b'"code":3500' in answer(sock, b"")
        with server.connect() as sock:
            raw = connected(sock)
            for number in range(20):
                subscribe = {"channel": f"no\n{number}", "token": token, "data": token}
                raw.send(TEXT, json.dumps({"id": 2, "subscribe": subscribe}).encode())
                assert b'"error"' in raw.receive()[1]

    repeat(come, hands=2)
    until(lambda: "cannot be requested" in server.output)
    assert token not in server.output
    assert "s3cret" not in server.output
    refused = [line for line in server.lines if "refused" in line]
    assert 2 <= len(refused) <= 6, refused
    assert not [line for line in server.lines if not re.match(r"\d\d:\d\d:\d\d |\s*$|  ", line)][3:]


def server_says(server: Running, text: str) -> bool:
    return text in server.output


def test_refused_commands_have_their_reason_in_the_log(server: Running) -> None:
    """Fault: the page saw a 404, and the operator nothing."""
    for body, reason in (("[", "not a JSON object"), ('{"session":"s","data":"{}","node":"n"}', "no such node")):
        with server.connect() as sock:
            sock.sendall(post("/emulation", body, "Connection: close"))
            assert answer(sock, b"")[9:12] in (b"400", b"404")
        until(partial(server_says, server, reason))
    assert "(POST /emulation)" in server.output


def test_a_reload_meanwhile(serve: Serve, tmp_path: Path) -> None:
    """Clients of all transports come, wait and go while the protocol of their endpoint changes."""
    server = serve(CONF, pipelines={"patient": PATIENT})

    def come() -> None:
        with contextlib.suppress(OSError, EOFError, ValueError, AssertionError), server.connect() as sock:
            raw = Raw(sock, "/patient")
            for number in range(1, 5):
                raw.send(TEXT, json.dumps({"id": number, ("connect" if number == 1 else "send"): {}}).encode())
        with contextlib.suppress(OSError, ValueError), contextlib.closing(http_stream(server, "/patient")) as stream:
            stream.sock.settimeout(1)
            stream.line()

    (file,) = tmp_path.rglob("*.toml")
    text = file.read_text()
    raw = text.replace('[endpoints."/patient"]\nprotocol = "centrifuge"', '[endpoints."/patient"]')
    with Bystander(server), meanwhile(lambda _: repeat(come, 2.0, hands=4)):
        for number in range(6):
            file.write_text(raw if number % 2 == 0 else text)
            server.signal(signal.SIGHUP)
            time.sleep(0.3)
    assert "Traceback" not in server.output, server.output
    assert server.stop() == 0
    assert "Traceback" not in server.output, server.output
