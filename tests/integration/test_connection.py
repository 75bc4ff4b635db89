"""A real server and real clients: handshakes, echoes, limits, closing."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import time
import urllib.error
import urllib.request

import pytest
import websocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from tests.integration.conftest import Serve
from tests.integration.raw import BINARY, CLOSE, PING, PONG, TEXT, Raw, frame, request

# Everything here holds over TLS as well.
pytestmark = pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"], indirect=True)

ECHO = """
[pipelines]
message = ["echo"]
"""


def answer(sock: socket.socket, data: bytes) -> bytes:
    """Everything that arrives until the server ends TCP."""
    sock.sendall(data)
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while more := sock.recv(65536):
            received += more
    return received


def test_two_independent_clients_echo(serve: Serve) -> None:
    server = serve(ECHO)
    with connect(server.url(), ssl=server.threaded_tls) as client:
        for message in ("hello", "", "grüße 🎉", b"", b"\0\xff", "x" * 100_000):
            client.send(message)
            assert client.recv() == message
    other = websocket.create_connection(server.url(), timeout=10, sslopt={"context": server.tls})
    other.send("hello")
    assert other.recv() == "hello"
    other.send_binary(b"\1\2")
    assert other.recv() == b"\1\2"
    other.close()
    assert server.stop() == 0


def test_frames_that_come_with_the_handshake_are_not_lost(serve: Serve) -> None:
    server = serve(ECHO)
    with server.connect() as sock:
        sock.sendall(request() + frame(TEXT, b"one") + frame(TEXT, b"two"))
        data = b""
        while not data.endswith(b"two"):
            data += sock.recv(4096)
        assert data.endswith(b"\x81\x03one\x81\x03two")


def test_a_message_in_fragments_with_a_ping_between(serve: Serve) -> None:
    server = serve(ECHO)
    with server.connect() as sock:
        raw = Raw(sock)
        raw.send(TEXT, b"he", fin=False)
        raw.send(PING, b"now")
        raw.send(0, b"llo")
        assert raw.receive() == (PONG, b"now")
        assert raw.receive() == (TEXT, b"hello")


def test_byte_by_byte(serve: Serve) -> None:
    server = serve(ECHO)
    with server.connect() as sock:
        raw = Raw(sock)
        for byte in frame(TEXT, "grüße".encode()) + frame(BINARY, b"x" * 300):
            sock.sendall(bytes([byte]))
        assert raw.receive() == (TEXT, "grüße".encode())
        assert raw.receive() == (BINARY, b"x" * 300)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(TEXT, b"unmasked", mask=None), 1002),
        (frame(TEXT, b"", rsv=4), 1002),
        (frame(3, b""), 1002),
        (frame(0, b"stray"), 1002),
        (frame(PING, b"x" * 126), 1002),
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, b"\xc3", fin=False) + frame(0, b"\xc3"), 1007),
        (frame(BINARY, b"x" * (1024 * 1024 + 1))[:14], 1009),
        (frame(CLOSE, b"\x03"), 1002),
        (frame(CLOSE, struct.pack("!H", 1005)), 1002),
        (frame(CLOSE, struct.pack("!H", 5000)), 1002),
        (frame(TEXT, b"", fin=False) + frame(0, b"", fin=False) * 101, 1008),
        (b"\x81\xfe\x00\x01", 1002),
        (b"\x82\xff\x80" + b"\0" * 7, 1002),
    ],
)
def test_a_broken_frame_gets_its_close_code_and_the_end_of_tcp(serve: Serve, sent: bytes, code: int) -> None:
    server = serve(ECHO)
    with server.connect() as sock:
        raw = Raw(sock)
        sock.sendall(sent)
        assert raw.close_code()[0] == code
        sock.shutdown(socket.SHUT_WR)
        assert raw.at_end()
    assert "Traceback" not in server.output


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1014, 3000, 4999])
def test_the_peers_close_code_is_echoed(serve: Serve, code: int) -> None:
    server = serve(ECHO)
    with server.connect() as sock:
        raw = Raw(sock)
        raw.send(CLOSE, struct.pack("!H", code) + b"bye")
        assert raw.close_code() == (code, "bye")
        assert raw.at_end()


def test_tcp_ends_within_close_timeout_whatever_the_peer_does(serve: Serve) -> None:
    server = serve(
        """
        [limits]
        close_timeout = "1s"
        [pipelines]
        message = ["close 4001 'server says bye'"]
        """
    )
    with server.connect() as sock:
        raw = Raw(sock)
        raw.send(TEXT, b"x")
        assert raw.close_code() == (4001, "server says bye")
        begin = time.monotonic()
        # The peer does not answer the Close, and keeps talking.
        with contextlib.suppress(OSError):
            while time.monotonic() - begin < 8:
                raw.send(TEXT, b"I did not hear that")
                time.sleep(0.01)
        assert time.monotonic() - begin < 2.5


def test_refused_requests_get_plain_http(serve: Serve) -> None:
    server = serve(ECHO)
    cases = {
        request().replace(b"Version: 13", b"Version: 8"): (426, b"sec-websocket-version: 13"),
        request().replace(b"Sec-WebSocket-Key: ", b"Sec-WebSocket-Key: !"): (400, b""),
        request().replace(b"Connection: Upgrade", b"Connection: not-upgrade-really"): (400, b""),
        request("/", "Origin: https://evil.example"): (403, b""),
        request("/", "Origin: null"): (403, b""),
        request("/", "Content-Length: 5"): (400, b""),
        request("/", "Host: other"): (400, b""),
        request("/", *[f"X-{number}: y" for number in range(100)]): (431, b""),
        request("/" + "a" * 9000): (414, b""),
        request().replace(b"GET ", b"POST "): (405, b""),
        request().replace(b"\r\n", b"\n"): (400, b""),
    }
    for data, (status, header) in cases.items():
        with server.connect() as sock:
            got = answer(sock, data)
        assert got.startswith(b"HTTP/1.1 %d " % status), (data[:200], got)
        assert header in got.lower()
    assert "Traceback" not in server.output


def test_own_pages_connect_and_listed_ones(serve: Serve) -> None:
    server = serve('[server]\norigins = ["https://good.example"]\n' + ECHO)
    for origin in (Origin(server.page), Origin("https://good.example"), None):
        with connect(server.url(), ssl=server.threaded_tls, origin=origin) as client:
            client.send("x")
            assert client.recv() == "x"
    evil = Origin("https://good.example.evil.example")
    with pytest.raises(InvalidStatus), connect(server.url(), ssl=server.threaded_tls, origin=evil):
        pass


def test_subprotocols_in_the_clients_order(serve: Serve) -> None:
    server = serve('[server]\nsubprotocols = ["v1", "v2"]\n' + ECHO)
    offer = [Subprotocol("v10"), Subprotocol("v2"), Subprotocol("v1")]
    with connect(server.url(), ssl=server.threaded_tls, subprotocols=offer) as client:
        assert client.subprotocol == "v2"
    with connect(server.url(), ssl=server.threaded_tls, subprotocols=[Subprotocol("v10")]) as client:
        assert client.subprotocol is None


def test_compression_is_off_until_asked_for_and_then_works(serve: Serve) -> None:
    server = serve(ECHO)
    with connect(server.url(), ssl=server.threaded_tls) as client:
        assert not client.protocol.extensions
    server = serve("[server]\ncompression = true\n" + ECHO)
    with connect(server.url(), ssl=server.threaded_tls) as client:
        assert client.protocol.extensions
        for message in ("short", "long " * 10_000, b"\0" * 100_000):
            client.send(message)
            assert client.recv() == message


def test_a_client_that_does_not_answer_pings_is_ended(serve: Serve) -> None:
    server = serve(
        """
        [limits]
        ping_interval = "1s"
        ping_timeout = "1s"
        [pipelines]
        message = ["echo"]
        disconnect = ["log 'gone {client.id}'"]
        """
    )
    with connect(server.url(), ssl=server.threaded_tls, ping_interval=None) as good, server.connect() as sock:
        silent = Raw(sock)
        begin = time.monotonic()
        assert silent.receive()[0] == PING
        assert silent.at_end()
        assert 1.5 < time.monotonic() - begin < 5
        good.send("still here")
        assert good.recv() == "still here"
    server.wait_for("gone")


def test_a_slow_reader_of_a_backlog_in_the_kernel_is_not_taken_for_dead(serve: Serve) -> None:
    """Fault: it was ended, because the ping waits behind megabytes in the kernel that are still being read."""
    server = serve(
        """
        [limits]
        ping_interval = "1s"
        ping_timeout = "2s"
        max_outbox = "16MiB"
        [endpoints."/hear"]
        connect = ["join all"]
        [endpoints."/say"]
        message = ["publish all"]
        """
    )
    slow = server.connect()
    with slow, server.connect() as sock:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        reader, writer = Raw(slow, "/hear"), Raw(sock, "/say")
        for _ in range(3):
            writer.send(BINARY, bytes(1024 * 1024))
        end = time.monotonic() + 6.5
        while time.monotonic() < end:
            got = slow.recv(4096)
            assert got
            reader.buffer += got
            time.sleep(0.02)
        whole = 0
        while whole < 3:
            opcode, payload = reader.receive()
            if opcode == PING:
                reader.send(PONG)
            else:
                assert payload == bytes(1024 * 1024)
                whole += 1


def test_an_unknown_path_is_404_and_an_upgrade_path_426(serve: Serve) -> None:
    server = serve('[endpoints."/ws/{room}"]\nmessage = ["echo"]\n')
    base = server.page
    for path, status in (("/ws/a", 426), ("/ws", 404), ("/ws/a/b", 404), ("/", 404)):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(base + path, context=server.tls)
        assert error.value.code == status
        error.value.close()
    with pytest.raises(InvalidStatus) as refused, connect(server.url("/nowhere"), ssl=server.threaded_tls):
        pass
    assert refused.value.response.status_code == 404
    with urllib.request.urlopen(base + "/healthz", context=server.tls) as response:
        assert json.load(response)["status"] == "ok"


def test_plain_requests_share_a_connection(serve: Serve) -> None:
    server = serve(ECHO)
    with server.connect() as sock:
        two = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        assert answer(sock, two).count(b"HTTP/1.1 200 OK") == 2


def test_frames_of_two_senders_are_never_torn(serve: Serve) -> None:
    """Fault C1 of gevent-websocket: a small message was written into a large one."""
    server = serve('[pipelines]\nconnect = ["join all"]\nmessage = ["broadcast all"]\n[limits]\nmax_outbox = "64MiB"\n')
    with server.connect() as first, server.connect() as second, server.connect() as third:
        reader, large, small = Raw(first), Raw(second), Raw(third)
        for _ in range(20):
            large.send(TEXT, b"L" * 600_000)
            for _ in range(5):
                small.send(TEXT, b"s")
        seen = {b"L" * 600_000: 0, b"s": 0}
        for _ in range(120):
            seen[reader.receive()[1]] += 1
        assert list(seen.values()) == [20, 100]


def test_an_answer_does_not_wait_for_a_filter_that_waits_on_the_next_message(serve: Serve) -> None:
    """The answers to one read are sent together, but not later than the first filter that blocks."""
    server = serve(
        '[pipelines]\nmessage = ["echo", "slow"]\n',
        pipelines={
            "slow": """
import time
from fws import Filter


class Slow(Filter):
    def message(self, client, message):
        if message == "wait":
            time.sleep(2)
"""
        },
    )
    with server.connect() as sock:
        raw = Raw(sock)
        begin = time.monotonic()
        sock.sendall(frame(TEXT, b"first") + frame(TEXT, b"wait") + frame(TEXT, b"last"))
        assert [raw.receive()[1] for _ in range(2)] == [b"first", b"wait"]
        assert time.monotonic() - begin < 1
        assert raw.receive()[1] == b"last"
