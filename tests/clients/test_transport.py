"""A client's socket: reads and writes that never block, backpressure, and each way to end."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import gevent
import pytest

from fws.clients.transport import Transport
from fws.wire import native


class Lease:
    """Records what a transport does with its lease."""

    def __init__(self) -> None:
        self.user = ""
        self.left = 0

    def claim(self, user: str) -> None:
        self.user = user

    def leave(self) -> None:
        self.left += 1


def tcp() -> tuple[socket.socket, socket.socket]:
    """Both ends of a TCP connection with small buffers."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        ours = socket.socket()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        ours.connect(listener.getsockname())
        theirs = listener.accept()[0]
    theirs.setblocking(False)
    return ours, theirs


Pair = tuple[Transport, socket.socket, Lease]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = tcp()
    lease = Lease()
    transport = Transport(ours, lease)
    with theirs:
        yield transport, theirs, lease
        transport.close()


def until(condition: Callable[[], object]) -> None:
    """Let the event loop run until a condition holds."""
    with gevent.Timeout(10):
        while not condition():
            gevent.sleep(0.001)


def fill(transport: Transport) -> None:
    """Send until the socket accepts no more."""
    try:
        while True:
            transport.send(b"x" * 65536)
    except BlockingIOError:
        pass


@pytest.fixture(params=["compiled", "python"])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "python":
        monkeypatch.setattr(native, "receive", None)
    else:
        assert native.receive is not None


@pytest.mark.usefixtures("implementation")
def test_receiving_never_blocks_and_is_limited(pair: Pair) -> None:
    transport, theirs, _ = pair
    assert transport.receive(100) is None
    theirs.sendall(b"abcdef")
    until(lambda: True)
    received = b""
    while len(received) < 6:
        received += transport.receive(4) or b""
        assert len(received) in (0, 4, 6)
    assert received == b"abcdef"
    assert transport.receive(4) is None


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
def test_every_end_of_the_stream_is_an_empty_read(pair: Pair, reset: bool) -> None:
    transport, theirs, _ = pair
    if reset:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        theirs.close()
    else:
        theirs.shutdown(socket.SHUT_WR)
    until(lambda: transport.receive(100) == b"")


def test_the_reader_is_called_until_reading_stops(pair: Pair) -> None:
    transport, theirs, _ = pair
    got: list[bytes | None] = []
    transport.start_reading(lambda: got.append(transport.receive(100)))
    theirs.send(b"one")
    until(lambda: got == [b"one"])
    transport.stop_reading()
    theirs.send(b"two")
    gevent.sleep(0.01)
    assert got == [b"one"], "the bytes stay in the kernel"
    transport.start_reading(lambda: got.append(transport.receive(100)))
    until(lambda: got == [b"one", b"two"])


def test_a_full_socket_raises_and_the_writer_is_called_when_there_is_room(pair: Pair) -> None:
    transport, theirs, _ = pair
    fill(transport)
    calls: list[int] = []
    transport.when_writable(lambda: calls.append(1))
    gevent.sleep(0.01)
    assert not calls
    received = 0

    def drained() -> bool:
        nonlocal received
        try:
            received += len(theirs.recv(65536))
        except BlockingIOError:
            pass
        return bool(calls)

    until(drained)
    transport.stop_writing()
    assert transport.send(b"more") == 4


def test_what_the_peer_has_acknowledged_shows_that_it_is_alive(pair: Pair) -> None:
    transport, theirs, _ = pair
    assert transport.arrived() == 0, "nothing is under way"
    fill(transport)
    before = transport.arrived()
    assert before > 0

    def more() -> bool:
        try:
            theirs.recv(65536)
        except BlockingIOError:
            pass
        return transport.arrived() > before

    until(more)


def test_after_fin_the_peer_can_still_send(pair: Pair) -> None:
    transport, theirs, _ = pair
    transport.send(b"last")
    transport.shutdown()
    until(lambda: theirs.recv(100, socket.MSG_PEEK) == b"last")
    assert theirs.recv(4) == b"last"
    assert theirs.recv(100) == b""
    theirs.send(b"bye")
    until(lambda: transport.receive(100) == b"bye")


def test_an_abort_ends_the_connection_without_the_unsent_bytes(pair: Pair) -> None:
    """Closing would otherwise keep megabytes in the kernel for a peer that does not read."""
    transport, theirs, _ = pair
    fill(transport)
    transport.abort()
    assert transport.receive(100) == b""
    transport.close()
    theirs.setblocking(True)
    theirs.settimeout(10)
    with pytest.raises(ConnectionResetError):
        _ = [0 for _ in iter(lambda: theirs.recv(65536), b"")]


def test_closing_ends_the_lease_and_may_be_repeated(pair: Pair) -> None:
    transport, theirs, lease = pair
    transport.claim("ann")
    assert lease.user == "ann"
    transport.start_reading(lambda: None)
    transport.close()
    transport.close()
    assert lease.left == 1
    until(lambda: theirs.recv(100) == b"")
    # A closed transport starts nothing on a descriptor that may belong to somebody else by now.
    transport.start_reading(lambda: None)
    transport.when_writable(lambda: None)


def test_small_writes_do_not_wait_for_acknowledgements() -> None:
    """Nagle's algorithm would delay an answer by up to 40 ms."""
    ours, theirs = tcp()
    descriptor = ours.dup()
    with theirs, descriptor:
        transport = Transport(ours)
        assert descriptor.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        transport.close()


def test_a_unix_socket_works_too() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        transport = Transport(ours)
        theirs.sendall(b"hello")
        until(lambda: transport.receive(100) == b"hello")
        transport.send(b"back")
        assert theirs.recv(100) == b"back"
        assert transport.arrived() == 0
        transport.close()
