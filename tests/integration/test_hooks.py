"""What hooks may return and raise, over real connections."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.integration.conftest import Running, Serve
from tests.integration.raw import TEXT, Raw

PROBE = '''
import gevent
from fws import DROP, Close, Filter, Reject


class Connect(Filter):
    """Refuses, fails, or greets, as the query says."""

    def connect(self, client):
        client.defer(lambda: print("deferred 1", flush=True))
        client.defer(lambda: 1 / 0)
        client.defer(lambda: print("deferred 3", flush=True))
        client.send("sent in connect")
        want = client.request.query.get("want")
        if want == "reject":
            raise Reject(401, "Who are you?", [("WWW-Authenticate", "Bearer")])
        if want == "close":
            raise Close(4000, "no")
        if want == "fail":
            raise LookupError("a bug")
        if want == "exit":
            raise SystemExit(3)


class Message(Filter):
    """Does what the message says."""

    def message(self, client, message):
        match message:
            case "pass":
                return None
            case "replace":
                return "replaced"
            case "drop":
                return DROP
            case "close":
                raise Close(4001, "asked for")
            case "fail":
                raise LookupError("a bug")
            case "exit":
                raise SystemExit(3)
            case "timeout":
                raise gevent.Timeout(1)
            case "reject":
                raise Reject(403)
            case "close()":
                client.close(4002, "called")
                client.send("too late")
            case "bad code":
                client.close(1005)
            case "unsendable":
                client.send(object())
            case "sleep":
                import time
                time.sleep(1)


class Data(Filter):
    """Drops what ends with an exclamation mark, fails at a question mark."""

    def data(self, client, data):
        if data.endswith(b"!"):
            return DROP
        if data.endswith(b"?"):
            raise LookupError("a bug")


class Deliver(Filter):
    """May change, drop, or fail for one receiver."""

    def deliver(self, client, publication):
        if publication.sender == client.id:
            return publication.replace(message="(you) " + publication.message)
        match publication.message:
            case "drop":
                return DROP
            case "fail":
                raise LookupError("a bug")
            case "close":
                raise Close(4003, "not for you")


class Publication(Filter):
    """Once per process, whoever the receivers are."""

    def publication(self, publication):
        match publication.message:
            case "nobody":
                return DROP
            case "rewrite":
                return publication.replace(message="rewritten")
            case "fail for all":
                raise LookupError("a bug")
            case "again":
                self.hub.publish("all", "again")


class Wrong(Filter):
    """Ends connections with what is no code or no reason."""

    def message(self, client, message):
        match message:
            case "no reason":
                raise Close(4000, None)
            case "no number":
                client.close(4000.0)

    def data(self, client, data):
        if b"text" in data:
            return "not bytes"

    def deliver(self, client, publication):
        if publication.message == "no reason" and publication.sender != client.id:
            raise Close(4000, {})


class Late(Filter):
    """Takes its time at the end."""

    def disconnect(self, client):
        import time
        time.sleep(1)
        client.defer(lambda: print("deferred late", flush=True))
        print("late done", flush=True)


class Gone(Filter):
    """Says how it ended."""

    def disconnect(self, client):
        print(f"disconnect {client.id} {client.close_code} {client.close_reason}", flush=True)


class Failing(Filter):
    """Fails at the end."""

    def disconnect(self, client):
        raise LookupError("a bug")
'''

CONF = """
[server]
drain = "5s"
[limits]
ping_interval = "1s"
ping_timeout = "1s"
close_timeout = "1s"

[pipelines]
connect = ["probe.connect", "join all"]
message = ["probe.message", "echo"]
disconnect = ["probe.gone", "probe.failing"]
publication = ["probe.publication"]

[endpoints."/publish"]
connect = ["join all"]
message = ["broadcast all"]

[endpoints."/deliver"]
connect = ["join all"]
deliver = ["probe.deliver"]
message = ["broadcast all"]

[endpoints."/wrong"]
connect = ["join all"]
deliver = ["probe.wrong"]
message = ["probe.wrong", "broadcast all"]

[endpoints."/late"]
connect = []
message = ["echo"]
disconnect = ["probe.late"]

[endpoints."/data"]
connect = []
data = ["probe.data", "probe.wrong"]
message = ["echo"]
"""


@pytest.fixture
def server(serve: Serve) -> Running:
    return serve(CONF, pipelines={"probe": PROBE})


@contextlib.contextmanager
def greeted(server: Running) -> Iterator[ClientConnection]:
    with connect(server.url()) as client:
        assert client.recv(timeout=5) == "sent in connect"
        yield client


def test_pass_replace_and_drop(server: Running) -> None:
    with greeted(server) as client:
        for said in ("pass", "replace", "drop", "pass"):
            client.send(said)
        assert [client.recv(timeout=5) for _ in range(3)] == ["pass", "replaced", "pass"]


@pytest.mark.parametrize(("said", "code", "reason"), [("close", 4001, "asked for"), ("close()", 4002, "called")])
def test_close_ends_the_connection_and_nothing_follows(server: Running, said: str, code: int, reason: str) -> None:
    with greeted(server) as client:
        client.send(said)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=5)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (code, reason)
    server.wait_for(f"disconnect .* {code} {reason}")


@pytest.mark.parametrize("said", ["fail", "exit", "timeout", "reject", "bad code", "unsendable"])
def test_any_other_exception_ends_the_event_and_the_client_stays(server: Running, said: str) -> None:
    with greeted(server) as client:
        client.send(said)
        client.send("pass")
        assert client.recv(timeout=5) == "pass"
        fault = server.wait_for("message failed in pipelines.probe.Message.message.* for client .*")[0]
        assert "(probe.py:" in fault
    assert server.process.poll() is None
    assert "Traceback" not in server.output


def test_connect_can_refuse_and_fails_closed(server: Running) -> None:
    for want, status in (("reject", 401), ("close", 403), ("fail", 500), ("exit", 500)):
        with pytest.raises(InvalidStatus) as refused, connect(server.url(f"/?want={want}")):
            pass
        assert refused.value.response.status_code == status
        if want == "reject":
            assert refused.value.response.headers["WWW-Authenticate"] == "Bearer"
            assert refused.value.response.body == b"Who are you?\n"
    # What was deferred is undone, the last first, and one fault does not keep the others from it.
    server.wait_for("(?s)deferred 3.*deferred 1")
    # A client whose connect did not pass has no disconnect.
    assert "\ndisconnect" not in server.output
    assert "ZeroDivisionError" in server.output


def test_data_is_seen_before_it_is_parsed(server: Running) -> None:
    with server.connect() as sock:
        raw = Raw(sock, "/data")
        raw.send(TEXT, b"no!", mask=b"\0\0\0\0")
        time.sleep(0.2)
        raw.send(TEXT, b"no?", mask=b"\0\0\0\0")
        time.sleep(0.2)
        raw.send(TEXT, b"yes", mask=b"\0\0\0\0")
        assert raw.receive() == (TEXT, b"yes")
    server.wait_for("data failed in pipelines.probe.Data.data")


def test_deliver_runs_once_per_receiver_and_touches_nobody_else(server: Running) -> None:
    with (
        connect(server.url("/deliver")) as sender,
        connect(server.url("/deliver")) as picky,
        connect(server.url("/publish")) as plain,
    ):
        for said in ("hello", "drop", "fail", "close"):
            sender.send(said)
        assert [sender.recv(timeout=5) for _ in range(4)] == [
            f"(you) {said}" for said in ("hello", "drop", "fail", "close")
        ]
        assert [plain.recv(timeout=5) for _ in range(4)] == ["hello", "drop", "fail", "close"]
        assert picky.recv(timeout=5) == "hello"
        with pytest.raises(ConnectionClosed) as closed:
            picky.recv(timeout=5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4003
    server.wait_for("deliver failed in pipelines.probe.Deliver.deliver.* for client")


def test_publication_runs_once_per_process(server: Running) -> None:
    with connect(server.url("/publish")) as first, connect(server.url("/publish")) as second:
        for said in ("nobody", "fail for all", "rewrite", "plain"):
            first.send(said)
        for client in (first, second):
            assert [client.recv(timeout=5) for _ in range(2)] == ["rewritten", "plain"]
    # The log is read by another thread.
    server.wait_for("publication failed")
    assert server.output.count("publication failed") == 1


def test_publications_that_make_one_another_are_cut_off(server: Running) -> None:
    with connect(server.url("/publish")) as client:
        client.send("again")
        client.send("after")
        received = []
        while (message := client.recv(timeout=5)) != "after":
            received.append(message)
        assert 1 <= len(received) <= 20
        assert set(received) == {"again"}
    server.wait_for("publication failed .*RecursionError")


def test_a_wrong_way_to_close_is_the_filters_fault_and_hurts_nobody_else(server: Running) -> None:
    with connect(server.url("/wrong")) as sender, connect(server.url("/publish")) as other:
        sender.send("no reason")
        sender.send("no number")
        sender.send("fine")
        assert sender.recv(timeout=5) == "fine"
        assert other.recv(timeout=5) == "fine"
    with connect(server.url("/wrong")) as receiver, connect(server.url("/publish")) as sender:
        sender.send("no reason")
        assert sender.recv(timeout=5) == "no reason"
        sender.send("fine")
        assert receiver.recv(timeout=5) == "fine"
    server.wait_for("message failed in pipelines.probe.Wrong.message")
    server.wait_for("deliver failed in pipelines.probe.Wrong.deliver")


def test_a_data_filter_that_does_not_return_bytes_is_named(server: Running) -> None:
    with server.connect() as sock:
        raw = Raw(sock, "/data")
        raw.send(TEXT, b"text", mask=b"\0\0\0\0")
        time.sleep(0.2)
        raw.send(TEXT, b"yes", mask=b"\0\0\0\0")
        assert raw.receive() == (TEXT, b"yes")
    server.wait_for("data failed .*it returned a str, not bytes")


def test_the_end_of_the_server_waits_for_disconnect_pipelines(server: Running) -> None:
    with connect(server.url("/late")):
        server.signal(signal.SIGTERM)
        assert server.process.wait(10) == 0
    assert "late done" in server.output
    assert "deferred late" in server.output


def test_a_client_that_waits_in_a_filter_still_gets_its_disconnect(serve: Serve) -> None:
    server = serve(
        """
        [server]
        drain = "1s"
        [pipelines]
        connect = ["slow.slow"]
        message = ["slow.slow"]
        disconnect = ["slow.end"]
        """,
        pipelines={
            "slow": """
import time
from fws import Filter


class Slow(Filter):
    def connect(self, client):
        client.defer(lambda: print("undone", flush=True))

    def message(self, client, message):
        time.sleep(60)


class End(Filter):
    def disconnect(self, client):
        print("ended", flush=True)
"""
        },
    )
    with server.connect() as sock:
        Raw(sock).send(TEXT, b"x")
        time.sleep(0.3)
        server.signal(signal.SIGTERM)
        assert server.process.wait(10) == 0
    assert "undone" in server.output
    assert "ended" in server.output


def test_a_filter_that_waits_makes_only_its_own_client_wait(server: Running) -> None:
    with greeted(server) as sleeper, greeted(server) as other:
        sleeper.send("sleep")
        begin = time.monotonic()
        other.send("pass")
        assert other.recv(timeout=5) == "pass"
        assert time.monotonic() - begin < 0.5
        assert sleeper.recv(timeout=5) == "sleep"


def ends(server: Running) -> dict[str, tuple[str, object]]:
    """Every way in which a connection can end, and the close code that `disconnect` must see."""

    def politely() -> None:
        with greeted(server) as client:
            client.close(3000, "bye")

    def reset() -> None:
        with server.connect() as sock:
            import socket
            import struct

            Raw(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def vanish() -> None:
        with server.connect() as sock:
            Raw(sock)

    def violate() -> None:
        with server.connect() as sock:
            raw = Raw(sock)
            raw.send(3)
            raw.close_code()

    def by_filter() -> None:
        with greeted(server) as client:
            client.send("close")
            with contextlib.suppress(ConnectionClosed):
                client.recv(timeout=5)

    def silent() -> None:
        with server.connect() as sock:
            Raw(sock).at_end()

    def deaf_to_close() -> None:
        with server.connect() as sock:
            raw = Raw(sock)
            raw.send(TEXT, b"close")
            raw.close_code()
            raw.at_end()

    return {
        "peer closes": ("3000 bye", politely),
        "peer resets": ("1006 ", reset),
        "peer vanishes": ("1006 ", vanish),
        "violation": ("1002 ", violate),
        "a filter": ("4001 asked for", by_filter),
        "no pong": ("1006 ", silent),
        "close unanswered": ("4001 asked for", deaf_to_close),
    }


@pytest.mark.parametrize(
    "way", ["peer closes", "peer resets", "peer vanishes", "violation", "a filter", "no pong", "close unanswered"]
)
def test_disconnect_runs_exactly_once_for_each_way_to_end(server: Running, way: str) -> None:
    expected, end = ends(server)[way]
    assert callable(end)
    end()
    server.wait_for(f"disconnect \\S+ {expected}")
    server.wait_for("disconnect failed in pipelines.probe.Failing.disconnect")
    assert server.stop() == 0
    assert len([line for line in server.lines if line.startswith("disconnect ") and "failed" not in line]) == 1
    assert server.output.count("deferred 1") == 1


def test_disconnect_runs_for_clients_that_are_connected_when_the_server_ends(server: Running) -> None:
    with greeted(server), greeted(server):
        server.signal(signal.SIGTERM)
        assert server.process.wait(10) == 0
    server.wait_for("stopped")
    assert len([line for line in server.lines if line.startswith("disconnect ") and " 1001 " in line]) == 2
