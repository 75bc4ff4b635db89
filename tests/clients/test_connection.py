"""Reading one client: rounds, backpressure, and the order of messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from fws.clients.connection import READ, SMALL_READ, read_of
from fws.clients.sweeper import Sweeper
from tests.support import Harness, build

ECHO = '[pipelines]\nmessage = ["echo"]\n'
# A filter that may block, so that its clients are served in their greenlets.
PATIENT = "from fws import Filter\n\n\nclass Patient(Filter):\n    def message(self, client, message):\n        pass\n"
IN_GREENLET = '[pipelines]\nmessage = ["patient", "echo"]\n'


def served(tmp_path: Path, toml: str) -> Harness:
    return build(toml, tmp_path, pipelines={"patient": PATIENT})


@pytest.mark.parametrize("toml", [ECHO, IN_GREENLET], ids=["loop", "greenlet"])
@pytest.mark.parametrize("size", [1, 3, 100, 70_000])
def test_messages_arrive_in_order_however_the_bytes_are_cut(toml: str, size: int, tmp_path: Path) -> None:
    harness = served(tmp_path, toml)
    client = harness.connect()
    peer = harness.peers[client]
    messages = [str(number) * (number % 7 + 1) for number in range(60)]
    stream = b"".join(map(peer.frame, messages))
    for start in range(0, len(stream), size):
        harness.arrive(client, stream[start : start + size])
    assert harness.sent(client) == messages


@pytest.mark.parametrize("toml", [ECHO, IN_GREENLET], ids=["loop", "greenlet"])
def test_a_turn_that_is_too_short_loses_and_reorders_nothing(
    toml: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every turn ends after one message, so that all others go through the backlog."""
    monkeypatch.setattr("fws.clients.connection.end_of_turn", lambda: 0.0)
    harness = served(tmp_path, toml)
    client = harness.connect()
    peer = harness.peers[client]
    messages = [f"message {number}" for number in range(200)]
    harness.arrive(client, b"".join(map(peer.frame, messages)))
    assert harness.sent(client) == messages
    assert not client.busy


def test_a_client_with_a_backlog_shares_turns_with_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quiet client is served after one turn of a flooding client, and not after the whole flood."""
    monkeypatch.setattr("fws.clients.connection.end_of_turn", lambda: 0.0)
    harness = served(tmp_path, ECHO)
    flooding, quiet = harness.connect(), harness.connect()
    peer = harness.peers[flooding]
    peer.wire.arrive(b"".join(peer.frame(str(number)) for number in range(100)))
    other = harness.peers[quiet]
    other.wire.arrive(other.frame("hello"))
    turns = 0
    while not (got := other.read()):
        harness.turn()
        turns += 1
        assert turns < 10
    assert got == ["hello"]
    assert len(peer.read()) < 50
    harness.settle()


def test_nothing_is_read_while_a_backlog_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TCP then makes the peer wait, and memory stays bounded."""
    monkeypatch.setattr("fws.clients.connection.end_of_turn", lambda: 0.0)
    harness = served(tmp_path, ECHO)
    client = harness.connect()
    peer = harness.peers[client]
    messages = [f"{number:100}" for number in range(3_000)]
    stream = b"".join(map(peer.frame, messages))
    assert len(stream) > 4 * READ
    peer.wire.arrive(stream)
    for _ in range(10):
        harness.turn()
    assert peer.wire.unread >= len(stream) - 2 * READ
    harness.settle()
    assert harness.sent(client) == messages


def test_an_error_outside_filters_ends_the_connection_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    harness = served(tmp_path, ECHO)
    client, other = harness.connect(), harness.connect()

    def fail(event: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(type(client), "serve", lambda self, event: fail(event))
    harness.client_says(client, "hello")
    monkeypatch.undo()
    assert f"serving client {client.id} failed: RuntimeError: a bug" in caplog.messages
    assert harness.peers[client].wire.aborted
    harness.client_says(other, "still here")
    assert harness.sent(other) == ["still here"]


@pytest.mark.parametrize("toml", [ECHO, IN_GREENLET], ids=["loop", "greenlet"])
@pytest.mark.parametrize("cut", [0, 1, 5])
def test_the_end_of_the_stream_ends_the_client(toml: str, cut: int, tmp_path: Path) -> None:
    """Also in the middle of a frame. Complete messages before it are served."""
    harness = served(tmp_path, toml)
    client = harness.connect()
    peer = harness.peers[client]
    harness.client_says(client, "complete")
    peer.wire.arrive(peer.frame("incomplete")[:cut])
    peer.wire.hang_up()
    harness.settle()
    assert harness.sent(client) == ["complete"]
    assert peer.wire.closed
    assert client.close_code == 1006
    assert harness.hub.busy == 0


def test_reads_of_compressed_data_are_small() -> None:
    """A read can become 1,032 times as large."""
    assert read_of(1 << 20, compressed=False) == READ
    assert read_of(1 << 20, compressed=True) == 1024
    assert read_of(1 << 30, compressed=True) == 4096
    assert read_of(1 << 10, compressed=True) == 512
    assert SMALL_READ < 512


def test_a_client_that_sends_too_many_messages_is_read_more_slowly(tmp_path: Path) -> None:
    harness = build('[limits]\nmessages = "10/s"\n[pipelines]\nmessage = ["echo"]\n', tmp_path)
    client = harness.connect()
    peer = harness.peers[client]
    for number in range(31):
        # One at a time, as a read of 16 KiB would have them all.
        peer.wire.arrive(peer.frame(str(number)))
        harness.settle()
    heard = len(harness.sent(client))
    assert heard == 11
    # What had come before the limit was noticed is read when there is room; nothing is lost.
    while len(got := harness.sent(client)) == 0:
        harness.clock.advance(0.1)
    assert got == [str(number) for number in range(11, 31)]
    assert harness.metrics["throttles"] >= 1
    harness.client_says(client, "more")
    assert harness.sent(client) == []
    harness.clock.advance(5)
    assert harness.sent(client) == ["more"]


@pytest.mark.parametrize("stages", ['"echo"', '"patient", "echo"'])
def test_a_client_that_sends_too_many_bytes_is_read_more_slowly(tmp_path: Path, stages: str) -> None:
    toml = f'[limits]\nbytes = "10KiB"\n[pipelines]\nmessage = [{stages}]\n'
    harness = build(toml, tmp_path, pipelines={"patient": PATIENT})
    client = harness.connect()
    message = "x" * 5000
    harness.client_says(client, message, message, message, message, message)
    assert len(harness.sent(client)) == 3
    began = harness.clock.now
    sweeper = Sweeper(harness.hub, harness.node.context)
    total = 3
    while total < 5:
        harness.clock.advance(0.1)
        sweeper.sweep(harness.clock.now)
        total += len(harness.sent(client))
    assert 0.3 < harness.clock.now - began < 3
    # Nobody takes a client for dead that is not being read.
    assert not harness.peers[client].wire.aborted
