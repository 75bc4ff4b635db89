"""TLS: certificates and their reload, client certificates, and records that are not torn."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.certificates import Authority, threaded_context
from tests.integration.conftest import Running, Serve
from tests.integration.raw import PING, PONG, TEXT, Raw, frame, request

ECHO = '[pipelines]\nmessage = ["echo"]\n'
WITH_FILES = '[server.tls]\ncert = "localhost.pem"\nkey = "localhost.key"\n' + ECHO


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """The folder of the TOML file."""
    folder = tmp_path / "conf"
    folder.mkdir()
    return folder


def serial_of(server: Running) -> int:
    """The serial number of the certificate of a new connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(server.connect_tcp()) as sock:
        shown = sock.getpeercert(binary_form=True)
        assert shown is not None
        return hash(shown)


def until(condition: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_new_certificates_are_for_new_connections_and_wrong_ones_for_nobody(serve: Serve, conf: Path) -> None:
    authority = Authority(conf)
    cert, key = authority.sign()
    server = serve(WITH_FILES)
    context = threaded_context(authority.file)
    first = serial_of(server)
    with connect(f"wss://localhost:{server.port}/", ssl=context) as old:
        authority.sign()
        until(lambda: serial_of(server) != first)
        server.wait_for("have been reloaded")
        second = serial_of(server)
        # Of the pair only the key is written, as by a renewal that fails half-way.
        key.write_bytes((authority.sign("other")[1]).read_bytes())
        server.wait_for("the old certificate stays, because the new one is invalid: ")
        assert serial_of(server) == second
        cert.write_text("no certificate")
        server.signal(signal.SIGHUP)
        server.wait_for("the old certificate stays, because the new one is invalid: ")
        time.sleep(2.5)
        assert len([line for line in server.lines if "the old certificate stays" in line]) <= 3
        assert serial_of(server) == second
        authority.sign()
        server.signal(signal.SIGHUP)
        until(lambda: serial_of(server) != second)
        old.send("still here")
        assert old.recv() == "still here"
    assert "Traceback" not in server.output


def test_a_clients_certificate_is_its_identity(serve: Serve, conf: Path) -> None:
    authority = Authority(conf)
    authority.sign()
    toml = WITH_FILES.replace('.key"\n', '.key"\nclient_ca = "authority.pem"\n', 1)
    server = serve(toml.replace('"echo"', "\"reply 'you are {identity.user}'\""))
    context = threaded_context(authority.file)
    url = f"wss://localhost:{server.port}/"
    with pytest.raises((ssl.SSLError, ConnectionError, EOFError, Exception)), connect(url, ssl=context) as client:
        client.recv()
    context.load_cert_chain(*authority.sign("ann"))
    with connect(url, ssl=context) as client:
        client.send("who?")
        assert client.recv() == "you are ann"
    stranger = threaded_context(authority.file)
    stranger.load_cert_chain(*Authority(conf, "stranger").sign("eve"))
    with pytest.raises((ssl.SSLError, ConnectionError, EOFError, Exception)), connect(url, ssl=stranger) as client:
        client.recv()
    assert "Traceback" not in server.output


@pytest.mark.parametrize("tls", [True], indirect=True)
@pytest.mark.parametrize(
    ("version", "spoken"),
    [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")],
)
def test_both_versions_and_the_protocols_name(serve: Serve, version: ssl.TLSVersion, spoken: str) -> None:
    server = serve(ECHO)
    assert server.tls is not None
    server.tls.maximum_version = version
    server.tls.set_alpn_protocols(["h2", "http/1.1"])
    with server.connect() as sock:
        assert isinstance(sock, ssl.SSLSocket)
        assert sock.version() == spoken
        assert sock.selected_alpn_protocol() == "http/1.1"
        raw = Raw(sock)
        # What OpenSSL holds decrypted makes no socket readable: many frames in one record, read in one go.
        sock.sendall(b"".join(frame(TEXT, b"%d" % number) for number in range(1000)))
        assert [raw.receive()[1] for _ in range(1000)] == [b"%d" % number for number in range(1000)]


@pytest.mark.parametrize("tls", [True], indirect=True)
def test_the_rest_of_a_tls_record_is_read_without_new_bytes(serve: Serve) -> None:
    """With compression one read takes 4 KiB, and a TLS record has 16 KiB."""
    server = serve("[server]\ncompression = true\n" + ECHO)
    with server.connect() as sock:
        raw = Raw(sock, "/", "Sec-WebSocket-Extensions: permessage-deflate")
        sock.sendall(b"".join(frame(PING, b"%04d" % number) for number in range(1500)))
        assert [raw.receive() for _ in range(1500)] == [(PONG, b"%04d" % number) for number in range(1500)]


@pytest.mark.parametrize("tls", [True], indirect=True)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_record_is_torn_when_a_slow_reader_gets_large_and_small_frames(
    serve: Serve, version: ssl.TLSVersion
) -> None:
    """Fault C4 of gevent-websocket: a record that OpenSSL has begun must be retried unchanged, whatever is sent
    meanwhile.
    """
    # Publishers hear nothing: OpenSSL's objects are not for two threads.
    server = serve(
        """
        [limits]
        max_outbox = "64MiB"
        [endpoints."/say"]
        message = ["publish all"]
        [endpoints."/hear"]
        connect = ["join all"]
        """
    )
    assert server.tls is not None
    server.tls.maximum_version = version
    with server.connect() as slow, server.connect() as first, server.connect() as second:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        reader, large, small = Raw(slow, "/hear"), Raw(first, "/say"), Raw(second, "/say")

        def write() -> None:
            for number in range(30):
                large.send(TEXT, b"L%02d" % number * 100_000)
                for _ in range(10):
                    small.send(TEXT, b"s")

        writer = threading.Thread(target=write)
        writer.start()
        seen = {b"L": 0, b"s": 0}
        pings = 0
        while sum(seen.values()) < 330:
            opcode, payload = reader.receive()
            if opcode == PONG:
                continue
            seen[payload[:1]] += 1
            assert payload == b"s" or payload == payload[:3] * 100_000
            if payload != b"s" and pings < 10:
                pings += 1
                reader.send(PING, b"between")
                time.sleep(0.05)
        writer.join()
        assert seen == {b"L": 30, b"s": 300}


def test_invalid_files_are_named_in_a_sentence(serve: Serve, conf: Path) -> None:
    authority = Authority(conf)
    authority.sign(password=b"secret")
    server = serve(WITH_FILES, ready=False)
    assert server.process.wait(10) == 78
    assert "is encrypted" in server.wait_for("fws: .*")[0]
    assert "Traceback" not in server.output
    missing = serve(WITH_FILES.replace("localhost.key", "nothing.key"), ready=False)
    assert missing.process.wait(10) == 78
    missing.wait_for("there is no file 'nothing.key'")
    alone = serve(ECHO, "--key", "a.key", ready=False)
    assert alone.process.wait(10) == 78
    alone.wait_for("give the certificate with --cert")


@pytest.mark.parametrize("tls", [True], indirect=True)
def test_pages_of_the_same_host_are_those_of_https_only(serve: Serve) -> None:
    server = serve(ECHO)
    for origin, status in ((f"https://localhost:{server.port}", b"101"), (f"http://localhost:{server.port}", b"403")):
        with server.connect() as sock:
            sock.sendall(request("/", f"Origin: {origin}", host=f"localhost:{server.port}"))
            assert sock.recv(4096).startswith(b"HTTP/1.1 " + status)


class OpenSsl:
    """`openssl s_client`, which can do more than Python's TLS: a line `K` updates the keys, and `R` renegotiates."""

    def __init__(self, port: int, *options: str) -> None:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, bufsize=0)
        self.output = bytearray()

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def read(self) -> bool:
        """Wait for output and read it. Returns False at the end."""
        assert self.process.stdout is not None
        data = os.read(self.process.stdout.fileno(), 65536)
        self.output += data
        return bool(data)

    def wait_for(self, what: bytes) -> None:
        start = 0
        while self.output.find(what, start) < 0:
            start = max(0, len(self.output) - len(what))
            assert self.read(), self.output[-1000:]

    def __enter__(self) -> OpenSsl:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.mark.parametrize("tls", [True], indirect=True)
def test_keys_are_changed_while_much_waits_for_a_slow_reader(serve: Serve) -> None:
    """The server must answer the key update although its socket accepts nothing. No frame is lost or torn by this."""
    server = serve(
        """
        [limits]
        max_outbox = "64MiB"
        [endpoints."/hear"]
        connect = ["join all"]
        message = ["echo"]
        [endpoints."/say"]
        message = ["publish all"]
        """
    )
    with OpenSsl(server.port, "-tls1_3") as slow, server.connect() as sock:
        slow.send(request("/hear"))
        slow.wait_for(b"HTTP/1.1 101 ")
        slow.wait_for(b"\r\n\r\n")
        for number in range(3):
            slow.send(b"K\n")
            time.sleep(0.05)
            slow.send(frame(TEXT, b"with new keys %d" % number))
            slow.wait_for(b"\x81\x0fwith new keys %d" % number)
        writer = Raw(sock, "/say")
        for number in range(10):
            writer.send(TEXT, b"%d" % number * 1024 * 1024)
        time.sleep(0.5)
        slow.send(b"K\n")
        time.sleep(0.1)
        slow.send(frame(TEXT, b"the last"))
        slow.output.clear()
        slow.wait_for(b"\x81\x08the last")
        for number in range(10):
            assert slow.output.count(b"%d" % number) >= 1024 * 1024
    assert "Traceback" not in server.output


@pytest.mark.parametrize("tls", [True], indirect=True)
@pytest.mark.parametrize(
    ("options", "commands", "answer"),
    [
        (("-tls1_2",), b"R\n", b"no renegotiation"),
        (("-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"), b"", b"alert protocol version"),
        (("-tls1_2", "-cipher", "AES256-GCM-SHA384"), b"", b"alert handshake failure"),
    ],
)
def test_outdated_tls_versions_are_refused(
    serve: Serve, options: tuple[str, ...], commands: bytes, answer: bytes
) -> None:
    server = serve(ECHO)
    with OpenSsl(server.port, *options) as client:
        if commands:
            client.wait_for(b"Verify return code")
            client.send(commands)
        client.wait_for(answer)
    assert "Traceback" not in server.output


def test_a_newer_version_can_be_asked_for(serve: Serve, conf: Path) -> None:
    authority = Authority(conf)
    authority.sign()
    server = serve(WITH_FILES.replace('.key"\n', '.key"\nmin_version = "1.3"\n', 1))
    context = ssl.create_default_context(cafile=authority.file)
    with context.wrap_socket(server.connect_tcp(), server_hostname="localhost") as sock:
        assert sock.version() == "TLSv1.3"
        client = Raw(sock)
        client.send(TEXT, b"x")
        assert client.receive() == (TEXT, b"x")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        context.wrap_socket(server.connect_tcp(), server_hostname="localhost")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_resumed_session_has_its_identity_and_ends_with_its_authority(
    serve: Serve, conf: Path, version: ssl.TLSVersion
) -> None:
    authority = Authority(conf)
    authority.sign()
    toml = WITH_FILES.replace('.key"\n', '.key"\nclient_ca = "authority.pem"\n', 1)
    server = serve(toml.replace('"echo"', "\"reply 'you are {identity.user}'\""))
    context = ssl.create_default_context(cadata=authority.file.read_text())
    context.load_cert_chain(*authority.sign("ann"))
    context.maximum_version = version

    def ask(session: ssl.SSLSession | None = None) -> ssl.SSLSession | None:
        with context.wrap_socket(server.connect_tcp(), server_hostname="localhost", session=session) as sock:
            raw = Raw(sock)
            assert sock.session_reused is (session is not None)
            raw.send(TEXT, b"who?")
            assert raw.receive() == (TEXT, b"you are ann")
            return sock.session

    session = ask()
    ask(session)
    (conf / "other").mkdir()
    (conf / "authority.pem").write_bytes(Authority(conf / "other").file.read_bytes())
    server.signal(signal.SIGHUP)
    server.wait_for("have been reloaded")
    # In TLS 1.3 the client's handshake is done before the server has seen its certificate.
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(session)


@pytest.mark.parametrize("tls", [True], indirect=True)
def test_a_handshake_that_is_under_way_survives_a_reload(serve: Serve) -> None:
    server = serve(ECHO)
    assert server.tls is not None
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = server.tls.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    with server.connect_tcp() as sock:
        sock.sendall(hello[:100])
        with server.connect():
            pass  # by now the hello has been looked at
        server.signal(signal.SIGHUP)
        server.wait_for("have been reloaded")
        sock.sendall(hello[100:])
        done = False
        while not done:
            incoming.write(sock.recv(65536))
            with contextlib.suppress(ssl.SSLWantReadError):
                client.do_handshake()
                done = True
            sock.sendall(outgoing.read())
        assert client.version() == "TLSv1.3"
