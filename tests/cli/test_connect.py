"""`fws connect`: at a terminal, in a pipe, and with something else or nothing at the other end."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve, unix_serve

from fws.cli.connect import hexadecimal
from fws.cli.connection import websocket_url
from tests.certificates import Authority
from tests.cli.command import ROOT, Terminal, environment, fws, fws_here


class Peer:
    """A WebSocket server that echoes, obeys some messages, and remembers how connections ended."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.closed: list[tuple[int | None, str | None]] = []
        self.connections: list[ServerConnection] = []
        self._ended = threading.Event()
        self._server: Server = serve(
            self._serve, "127.0.0.1", 0, process_request=self._check, select_subprotocol=self._choose
        )
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self._server.socket.setsockopt(socket.SOL_SOCKET, option, 65536)
        self.url = f"127.0.0.1:{self._server.socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()

    def ending(self) -> tuple[int | None, str | None]:
        """How the connection ended, as soon as it has ended."""
        assert self._ended.wait(15)
        return self.closed[-1]

    def _check(self, connection: ServerConnection, request: Any) -> Any:
        self.requests.append(request)
        if request.path == "/forbidden":
            return connection.respond(403, "Members \x1b[31monly.\nNo one else.")
        return None

    def _choose(self, connection: ServerConnection, offered: Any) -> Any:
        return "v2" if "v2" in offered else None

    def _serve(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        if connection.request is not None and connection.request.path == "/greeting":
            connection.send("first")
            connection.send(["in ", "three ", "frames"])
        try:
            for message in connection:
                match message:
                    case "bye":
                        connection.close(1001, "so \x1b[31mlong")
                    case "out":
                        connection.close(4003, "out of turn")
                    case "cut":
                        connection.socket.shutdown(socket.SHUT_RDWR)
                    case "bytes":
                        connection.send(b"\x00\x1b\xff")
                    case "huge":
                        connection.send("x" * (16 * 1024 * 1024 + 1))
                    case "garbage":
                        connection.socket.sendall(b"\x81\x02\xff\xff")
                    case "colour":
                        connection.send("\x1b[31mred\nnext")
                    case _:
                        connection.send(message)
        except ConnectionClosed:
            pass
        self.closed.append((connection.close_code, connection.close_reason))
        self._ended.set()


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.stop()


# In a pipe


def test_lines_of_a_pipe_are_sent_and_their_answers_are_all_of_the_output(peer: Peer) -> None:
    done = fws("connect", peer.url, "--wait", "0.3", stdin="one\ntwo\r\n\nthree \x1b[1m")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "one\ntwo\n\nthree \x1b[1m\n"
    assert peer.ending() == (1000, "")


def test_messages_together_with_the_handshake_are_shown_and_fragments_are_joined(peer: Peer) -> None:
    assert fws("connect", f"http://{peer.url}/greeting", "--wait", "0.3").stdout == "first\nin three frames\n"


def test_waits_for_silence_not_for_a_time(peer: Peer) -> None:
    """Answers later than `--wait` after the last line are shown as long as the gaps are shorter."""

    def slowly() -> None:
        while not peer.connections:
            time.sleep(0.01)
        for number in range(5):
            time.sleep(0.2)
            peer.connections[0].send(str(number))

    thread = threading.Thread(target=slowly)
    thread.start()
    done = fws("connect", peer.url, "--wait", "0.6")
    thread.join()
    assert done.stdout == "0\n1\n2\n3\n4\n"


def test_more_than_socket_buffers_hold_goes_through_both_ways(peer: Peer) -> None:
    """The server stops reading while it cannot write. A client that sends everything before it reads would hang."""
    lines = "".join(f"{number:0>1000}\n" for number in range(12_000))
    done = fws("connect", peer.url, "--wait", "0.3", stdin=lines)
    assert done.stdout == lines


def test_input_can_be_a_file_or_nothing(peer: Peer, tmp_path: Path) -> None:
    """A regular file cannot be polled like a pipe."""
    (tmp_path / "lines").write_text("a\nb\n")
    command = [sys.executable, "-m", "fws", "connect", peer.url, "--wait", "0.3"]
    with (tmp_path / "lines").open() as file:
        done = subprocess.run(command, stdin=file, capture_output=True, text=True, env=environment(), timeout=30)
    assert done.stdout == "a\nb\n"
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *command], capture_output=True, text=True, env=environment(), timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_has_enough_ends_it_quietly(peer: Peer) -> None:
    """Fault: libev aborted the process if a socket was closed while another greenlet waited for it."""
    command = [sys.executable, "-m", "fws", "connect", peer.url]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment()) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        assert client.stderr is not None
        client.stdin.write(b"one\n")
        client.stdin.flush()
        assert client.stdout.readline() == b"one\n"
        client.stdout.close()
        client.stdin.write(b"two\n")
        client.stdin.flush()
        assert client.wait(15) == 0
        assert client.stderr.read() == b""
    assert peer.ending() == (1000, "")


def test_a_line_that_is_not_text_stops_the_input(peer: Peer) -> None:
    done = fws("connect", peer.url, "--wait", "0.3", stdin=b"one\n\xff\xfe\nthree\n")
    assert (done.returncode, done.stdout) == (1, "one\n")
    assert done.stderr == "fws: line 2 is not UTF-8: this line and the following ones were not sent\n"


def test_binary_messages_are_shown_with_their_size(peer: Peer) -> None:
    assert fws("connect", peer.url, "--wait", "0.3", stdin="bytes\n").stdout == "(3 bytes) 00 1b ff\n"
    assert hexadecimal(b"") == "(0 bytes)"
    assert hexadecimal(b"a") == "(1 byte) 61"
    assert hexadecimal(bytes(100), 3) == "(100 bytes) 00 00 00 …"


@pytest.mark.parametrize(
    ("line", "status", "notice"),
    [
        ("bye", 0, "closed by the server: 1001 so \\x1b[31mlong\n"),
        ("out", 1, "closed by the server: 4003 out of turn\n"),
        ("cut", 1, "the connection was lost (1006)\n"),
        ("huge", 1, "closed by this side: 1009 "),
        ("garbage", 1, "closed by this side: 1007 "),
    ],
)
def test_the_end_of_the_connection_is_shown(peer: Peer, line: str, status: int, notice: str) -> None:
    done = fws("connect", peer.url, stdin=line + "\n")
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(notice)
    assert done.stderr.count("\n") == 1


def test_the_handshake_has_the_requested_headers(peer: Peer) -> None:
    done = fws(
        "connect", f"{peer.url}/path?a=b://c", "--wait", "0",
        "-H", "Authorization: Bearer a:b", "--header", "X-Two:1", "-H", "x-two: 2", "-H", "User-Agent: mine",
        "--origin", "https://example.org", "--subprotocol", "v1", "--subprotocol", "v2",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    (request,) = peer.requests
    assert request.path == "/path?a=b://c"
    assert request.headers["Authorization"] == "Bearer a:b"
    assert request.headers.get_all("X-Two") == ["1", "2"]
    assert request.headers.get_all("User-Agent") == ["mine"]
    assert request.headers["Origin"] == "https://example.org"
    assert request.headers["Sec-WebSocket-Protocol"] == "v1, v2"


# Where it does not come to a connection


def test_a_refusal_is_one_line_with_the_servers_sentence(peer: Peer) -> None:
    done = fws_here("connect", f"{peer.url}/forbidden")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"fws: ws://{peer.url}/forbidden answered HTTP 403 Forbidden: Members \\x1b[31monly.\n"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://example.org", "a WebSocket URL begins with ws:// or wss://"),
        ("ws://", "hostname isn't provided"),
        ("ws://localhost:99999/", "Port out of range 0-65535"),
        ("ws://localhost/#part", "fragment identifier is meaningless"),
        ("nowhere.invalid", ": "),  # the resolver's words differ
    ],
)
def test_a_failed_connection_is_one_line(url: str, reason: str) -> None:
    done = fws_here("connect", url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("fws: cannot connect to ")
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "Connection refused"),
        (b"", "did not receive a valid HTTP response"),
        (b"220 mail.example.org\r\n", "did not receive a valid HTTP response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "answered HTTP 200 OK: hi"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "missing Connection header"),
    ],
)
def test_whatever_answers_instead_is_one_line(answer: bytes | None, reason: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"127.0.0.1:{listener.getsockname()[1]}"
        if answer is None:
            listener.close()

        def serve_once() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer or b"")

        thread = threading.Thread(target=serve_once) if answer is not None else None
        if thread is not None:
            thread.start()
        done = fws_here("connect", url)
        if thread is not None:
            thread.join()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("fws: ")
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("header", ["no colon", ": no name", "Two\nLines: x", "X: a\r\nY: b", "spaced name: x"])
def test_an_invalid_header_is_not_sent(header: str) -> None:
    done = fws_here("connect", "localhost:1", "-H", header)
    assert done.returncode == 2
    assert 'write "Name: value"' in done.stderr


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("localhost:9000", "ws://localhost:9000"),
        (":9000/chat", "ws://localhost:9000/chat"),
        ("example.org/a?b=c://d", "ws://example.org/a?b=c://d"),
        ("http://127.0.0.1:9000/", "ws://127.0.0.1:9000/"),
        ("HTTPS://example.org", "wss://example.org"),
        ("wss://[::1]:9000/", "wss://[::1]:9000/"),
    ],
)
def test_short_urls_are_completed(typed: str, url: str) -> None:
    assert websocket_url(typed) == url


# At a terminal


def test_messages_arrive_while_a_line_is_half_typed(peer: Peer) -> None:
    with Terminal("connect", peer.url) as terminal:
        terminal.until("connected to ws://")
        terminal.until("> ")
        terminal.type("half ")
        peer.connections[0].send("news")
        terminal.until("news")
        terminal.type("typed\n")
        terminal.until("half typed\x1b[0m")
        terminal.type("\x04")
        assert terminal.end() == 0
    assert peer.ending() == (1000, "")
    # Above the typed line: the cursor is saved before and restored behind what arrived.
    assert re.search(r"\x1b7\r\n\x1b\[1A\r\x1b\[1L[^\n]*< [^\n]*news[^\n]*\x1b8\x1b\[1B", terminal.screen)


def test_ctrl_c_closes_in_order(peer: Peer) -> None:
    with Terminal("connect", peer.url) as terminal:
        terminal.until("> ")
        terminal.type("never sent\x03")
        assert terminal.end() == 0
    assert peer.ending() == (1000, "")
    assert "Aborted" not in terminal.screen
    assert "Traceback" not in terminal.screen


def test_a_terminal_is_not_steered_by_messages(peer: Peer) -> None:
    with Terminal("connect", peer.url) as terminal:
        terminal.until("> ")
        terminal.type("colour\nbytes\n")
        terminal.until("\\x1b[31mred\\nnext")
        terminal.until("(3 bytes) 00 1b ff")
        terminal.type("bye\n")
        assert terminal.end() == 0
    assert "closed by the server: 1001 so \\x1b[31mlong" in terminal.screen
    assert "\x1b[31m" not in terminal.screen


def test_a_server_that_does_not_close_is_left_after_a_while() -> None:
    """Ctrl-D must end it whatever the other side does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"127.0.0.1:{listener.getsockname()[1]}"
        with Terminal("connect", url) as terminal:
            connection, _ = listener.accept()
            with connection:
                answer(connection)
                terminal.until("> ")
                terminal.type("\x04")
                assert terminal.end() == 0


def answer(connection: socket.socket) -> None:
    """The 101 of a server that sends nothing more."""
    from websockets.utils import accept_key

    key = re.search(rb"Sec-WebSocket-Key: (\S+)", connection.recv(65536))
    assert key is not None
    head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    connection.sendall(f"{head}Sec-WebSocket-Accept: {accept_key(key[1].decode())}\r\n\r\n".encode())


# Against fws itself


def test_fws_talks_to_fws() -> None:
    command = [sys.executable, "-m", "fws", "run", str(ROOT / "conf" / "echo.toml"), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as server:
        assert server.stdout is not None
        url = next(found[0] for line in server.stdout if (found := re.search(r"ws://\S+", line)))
        try:
            done = fws("connect", url, "--wait", "0.3", stdin="hello\n")
            assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")
        finally:
            server.terminate()


# Other servers than those of the machine.


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[str, Authority]]:
    """The address of a server with a certificate of a private authority."""
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign())

    def echo(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    server = serve(echo, "127.0.0.1", 0, ssl=context)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"wss://127.0.0.1:{server.socket.getsockname()[1]}", authority
    server.shutdown()
    thread.join()


def test_a_private_certificate(secure: tuple[str, Authority], tmp_path: Path) -> None:
    """Fault: a server with a private certificate could not be reached."""
    url, authority = secure
    for option in (["--ca", str(authority.file)], ["--insecure"]):
        done = fws("connect", url, "--wait", "0.3", *option, stdin="hello")
        assert (done.stdout, done.stderr) == ("hello\n", "")
    refused = fws("connect", url, stdin="hello")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "certificate" in refused.stderr
    missing = fws("connect", url, "--ca", str(tmp_path / "none.pem"))
    assert (missing.returncode, missing.stderr.count("\n"), "No such file" in missing.stderr) == (1, 1, True)


def test_a_unix_socket(tmp_path: Path) -> None:
    seen = []

    def echo(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.append(connection.request.path)
        for message in connection:
            connection.send(message)

    server = unix_serve(echo, str(tmp_path / "s.sock"))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    for address in (f"unix:{tmp_path}/s.sock", f"unix:{tmp_path}/s.sock:/chat?a=b"):
        assert fws("connect", address, "--wait", "0.3", stdin="hello").stdout == "hello\n"
    server.shutdown()
    thread.join()
    assert seen == ["/", "/chat?a=b"]


@pytest.mark.parametrize(
    ("url", "said"), [("localhost:9000/a b", "a URL has no spaces: write %20"), ("unix:", "needs the path of its file")]
)
def test_an_address_that_is_wrong_is_one_line(url: str, said: str) -> None:
    done = fws("connect", url)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert said in done.stderr


def test_a_closed_output_gives_no_traceback(peer: Peer) -> None:
    """Fault: `fws connect URL >&-` ended in a traceback."""
    command = f"{sys.executable} -m fws connect {peer.url} --wait 0.3 >&-"
    done = subprocess.run(
        ["sh", "-c", command], input=b"hello", stderr=subprocess.PIPE, env=environment(), timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
