"""Whatever one client or one channel does, another client's echo comes within 100 ms.

The loop serves a client whose filters do not wait in its own callback, any other in a greenlet: both ways are tried.
The clients that make the load share the processors with the server, so the worst tenth of the waits says nothing. Where
one client can starve the others, every wait is seconds long (gevent-websocket's C6).
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable

import pytest

from tests.integration.conftest import Running, Serve
from tests.integration.raw import PING, TEXT, Raw, frame

ENDPOINTS = """
max_outbox = "64MiB"
[pipelines]
message = [{first}"echo"]
[endpoints."/all"]
connect = ["join all"]
message = [{first}"broadcast all"]
"""
MODES = {"in the loop": "", "in a greenlet": '"patient", '}
PATIENT = """
from fws import Filter


class Patient(Filter):
    \"\"\"Does not promise that it never waits.\"\"\"

    def message(self, client, message):
        return message
"""


@pytest.fixture(params=MODES)
def server(request: pytest.FixtureRequest, serve: Serve) -> Running:
    toml = "[limits]" + ENDPOINTS.format(first=MODES[request.param])
    return serve(toml, pipelines={"patient": PATIENT})


def waits_beside(server: Running, load: Callable[[threading.Event], None]) -> list[float]:
    """How long an echo takes while `load` runs, which ends once its event is set. In seconds, the shortest first."""
    stop = threading.Event()
    thread = threading.Thread(target=load, args=(stop,))
    with server.connect() as sock:
        bystander = Raw(sock)
        thread.start()
        waits = []
        try:
            until = time.monotonic() + 2
            while time.monotonic() < until:
                begin = time.monotonic()
                bystander.send(TEXT, b"ping")
                assert bystander.receive() == (TEXT, b"ping")
                waits.append(time.monotonic() - begin)
                time.sleep(0.01)
        finally:
            stop.set()
            thread.join()
    assert len(waits) >= 10
    return sorted(waits)


def flood_of_requests(sock: socket.socket, stop: threading.Event) -> None:
    """One plain request after the other, answers read: gevent's `recv` and `sendall` never let go by themselves."""
    requests = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 500

    def read() -> None:
        with contextlib.suppress(OSError):
            while sock.recv(65536):
                pass

    reader = threading.Thread(target=read)
    reader.start()
    with contextlib.suppress(OSError):
        while not stop.is_set():
            sock.sendall(requests)
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    reader.join()


FLOODS = {
    "requests": b"",
    "one-byte fragments": frame(TEXT, b"x", fin=False) + frame(0, b"x", fin=False) * 20_000,
    "pings": frame(PING) * 2000,
    "fragments": frame(TEXT, b"", fin=False) + (frame(0, b"x", fin=False) + frame(0, b"", fin=False)) * 2000,
    "small messages": frame(TEXT, b"x") * 2000,
    "large messages": frame(TEXT, b"x" * 100_000) * 4,
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_costs_another_client_at_most_100_ms(server: Running, kind: str) -> None:
    def flood(stop: threading.Event) -> None:
        with server.connect() as sock:
            sock.settimeout(0.5)
            if kind == "requests":
                flood_of_requests(sock, stop)
                return
            raw = Raw(sock)
            drain = threading.Thread(target=raw.at_end)
            drain.start()
            with contextlib.suppress(OSError):
                while not stop.is_set():
                    sock.sendall(FLOODS[kind])
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            drain.join()

    waits = waits_beside(server, flood)
    assert waits[int(len(waits) * 0.9)] < 0.1, waits[-5:]


@pytest.mark.parametrize("size", [100, 100_000])
def test_a_broadcast_to_many_costs_another_client_at_most_100_ms(server: Running, size: int) -> None:
    """One message after the other goes to 300 clients, as fast as its sender sees them come back."""
    published = 0

    def broadcast(stop: threading.Event) -> None:
        nonlocal published
        with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
            for _ in range(300):
                sock = stack.enter_context(server.connect())
                Raw(sock, "/all")
                sock.setblocking(False)
                selector.register(sock, selectors.EVENT_READ)
            publisher = Raw(stack.enter_context(server.connect()), "/all")
            done = threading.Event()

            def drain() -> None:
                buffer = bytearray(1 << 20)
                while not done.is_set():
                    for key, _ in selector.select(0.1):
                        with contextlib.suppress(BlockingIOError):
                            key.fileobj.recv_into(buffer)  # type: ignore[union-attr]

            reader = threading.Thread(target=drain)
            reader.start()
            try:
                while not stop.is_set():
                    publisher.send(TEXT, b"x" * size)
                    assert publisher.receive() == (TEXT, b"x" * size)
                    published += 1
            finally:
                done.set()
                reader.join()

    waits = waits_beside(server, broadcast)
    assert published >= 3
    assert waits[int(len(waits) * 0.9)] < 0.1, waits[-5:]


def test_a_filter_that_breaks_its_promise_is_named_and_holds_nobody_up(serve: Serve) -> None:
    source = """
import time
from fws import Filter


class Hasty(Filter):
    waits = False

    def message(self, client, message):
        if message == "sleep":
            time.sleep(3600)
"""
    server = serve('[pipelines]\nmessage = ["hasty", "echo"]\n', pipelines={"hasty": source})
    with server.connect() as sock:
        raw = Raw(sock)
        raw.send(TEXT, b"sleep")
        raw.send(TEXT, b"still here")
        assert raw.receive() == (TEXT, b"still here")
    server.wait_for(
        r"message failed in (\S+\.)?hasty\.Hasty\.message \(hasty\.py:11.*\) for client \S+: "
        r"it waits, though its filter promises `waits = False`"
    )
    assert "Traceback" not in server.output
