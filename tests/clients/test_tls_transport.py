"""A client's socket over TLS: records that are kept whole, bytes that OpenSSL holds, and both ways to end."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
from gevent import socket as gevent_socket

from fws.clients.tls_transport import RECORD, TlsTransport
from fws.config import Tls
from fws.runtime.scheduler import Scheduler
from fws.server.certificates import CertificateStore
from tests.certificates import Authority, threaded_context


class Peer:
    """A TLS client in a thread, because the standard library's sockets block the event loop."""

    def __init__(self, port: int, authority: Path) -> None:
        self.received = b""
        self.ended = ""
        self.resume = threading.Event()
        self.resume.set()
        context = threaded_context(authority)
        plain = socket.create_connection(("127.0.0.1", port), timeout=20)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock: ssl.SSLSocket | None = None
        self._thread = threading.Thread(target=self._run, args=(context, plain), daemon=True)
        self._thread.start()

    def _run(self, context: ssl.SSLContext, plain: socket.socket) -> None:
        try:
            with context.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False) as sock:
                self.sock = sock
                while data := sock.recv(65536):
                    self.received += data
                    self.resume.wait(20)
                self.ended = "close_notify"
        except ssl.SSLEOFError:
            self.ended = "FIN without close_notify"
        except OSError as error:
            self.ended = type(error).__name__

    def send(self, data: bytes) -> None:
        assert self.sock is not None
        self.sock.sendall(data)


Pair = tuple[TlsTransport, Peer]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `authority.pem` and a certificate for localhost."""
    folder = tmp_path_factory.mktemp("tls")
    Authority(folder).sign()
    return folder


@pytest.fixture
def pair(authority: Path) -> Iterator[Pair]:
    store = CertificateStore(Tls(cert="localhost.pem", key="localhost.key"), authority)
    listener = gevent_socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    peer = Peer(listener.getsockname()[1], authority / "authority.pem")
    accepted, _ = listener.accept()
    listener.close()
    with gevent.Timeout(20):
        transport = TlsTransport(store.handshake(accepted, Scheduler()))
    yield transport, peer
    peer.resume.set()
    transport.close()


def fill(transport: TlsTransport) -> bytes:
    """Send until the socket accepts no more. Returns what was accepted."""
    accepted, number, refused = b"", 0, 0
    while True:
        data = bytes([number % 251]) * (3 * RECORD + number)
        try:
            accepted += data[: transport.send(data)]
            number, refused = number + 1, 0
        except BlockingIOError:
            refused += 1
            if refused == 5:
                assert transport.waits
                return accepted
            gevent.sleep(0.02)  # the kernels may still be moving bytes


def until(condition: Callable[[], object]) -> None:
    with gevent.Timeout(20):
        while not condition():
            gevent.sleep(0.001)


def test_the_fan_out_cannot_write_to_the_descriptor(pair: Pair) -> None:
    """Its bytes would go out unencrypted."""
    transport, _ = pair
    assert transport.fd == -1


def test_bytes_that_openssl_holds_are_read_without_new_ones(pair: Pair) -> None:
    """Fault: the socket is not readable for the rest of a record that OpenSSL has already taken from it."""
    transport, peer = pair
    got = b""

    def read() -> None:
        nonlocal got
        got += transport.receive(100) or b""

    transport.start_reading(read)
    until(lambda: peer.sock is not None)
    peer.send(b"x" * 10_000)
    until(lambda: len(got) == 10_000)


def test_reading_that_was_stopped_continues_with_what_openssl_holds(pair: Pair) -> None:
    transport, peer = pair
    until(lambda: peer.sock is not None)
    peer.send(b"x" * 1000)
    got = b""

    def until_first() -> bool:
        nonlocal got
        got += transport.receive(10) or b""
        return bool(got)

    until(until_first)
    calls: list[bytes | None] = []
    transport.start_reading(lambda: calls.append(transport.receive(990)))
    until(lambda: calls)
    assert len(got) + len(calls[0] or b"") == 1000
    transport.stop_reading()


def test_a_record_that_the_socket_does_not_accept_is_never_torn(pair: Pair) -> None:
    """OpenSSL must be given the same bytes again, whatever is written meanwhile (fault C4 of gevent-websocket)."""
    transport, peer = pair
    peer.resume.clear()
    expected = fill(transport)
    writable: list[int] = []
    transport.when_writable(lambda: writable.append(1))
    peer.resume.set()
    until(lambda: writable)
    transport.stop_writing()
    expected += b"last"
    until(lambda: not transport.waits)
    assert transport.send(b"last") == 4
    until(lambda: len(peer.received) >= len(expected))
    assert peer.received == expected


def test_small_frames_share_a_record(pair: Pair) -> None:
    transport, peer = pair
    pieces: list[bytes | memoryview] = [b"x" * 1000] * 100
    assert transport.sendmsg(pieces) == 17_000, "as many pieces as fill a record of 16 KiB"
    until(lambda: len(peer.received) == 17_000)


def test_the_end_is_announced_in_tls_after_everything_is_sent(pair: Pair) -> None:
    transport, peer = pair
    peer.resume.clear()
    sent = fill(transport)
    transport.shutdown()
    gevent.sleep(0.05)
    assert peer.ended != "close_notify"
    peer.resume.set()
    until(lambda: peer.ended)
    assert peer.ended == "close_notify"
    assert peer.received == sent


def test_an_end_without_waiting_bytes_is_announced_at_once(pair: Pair) -> None:
    """Fault: no close_notify was ever sent, because OpenSSL's socket object had no descriptor any more."""
    transport, peer = pair
    transport.send(b"last")
    transport.shutdown()
    until(lambda: peer.ended)
    assert (peer.ended, peer.received) == ("close_notify", b"last")
    assert transport.receive(100) in (None, b""), "what still arrives is not decrypted"


def test_an_abort_does_not_wait(pair: Pair) -> None:
    transport, peer = pair
    peer.resume.clear()
    fill(transport)
    transport.abort()
    transport.close()
    peer.resume.set()
    until(lambda: peer.ended)
    assert peer.ended != "close_notify"


def test_the_peers_end_is_the_end_of_the_stream(pair: Pair) -> None:
    transport, peer = pair
    until(lambda: peer.sock is not None)
    assert peer.sock is not None
    peer.sock.shutdown(socket.SHUT_RDWR)
    until(lambda: transport.receive(100) == b"")
