"""The life of a connection: pings, time limits, and the closing handshake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event

from fws.clients.sweeper import TICK, Sweeper
from fws.wire.frames import PING
from tests.support import Harness, build

CONF = """
[limits]
ping_interval = "25s"
ping_timeout = "10s"
close_timeout = "5s"
[pipelines]
message = ["echo"]
"""
PONG = b"\x8a\x80\0\0\0\0"
WAIT = """
from fws import Filter


class Wait(Filter):
    def message(self, client, message):
        self.gate.wait()
"""


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return build(CONF, tmp_path)


def sweep(harness: Harness, seconds: float) -> None:
    """Time passes, and the sweeper runs."""
    sweeper = Sweeper(harness.hub, harness.node.context)
    for _ in range(round(seconds / TICK)):
        harness.clock.advance(TICK)
        sweeper.sweep(harness.clock.now)


def pings(harness: Harness, client: object) -> int:
    written = bytes(harness.peers[client].wire.written)  # type: ignore[index]
    return written.count(bytes([0x80 | PING, 0]))


def test_pings_every_25_seconds_as_long_as_they_are_answered(harness: Harness) -> None:
    client = harness.connect()
    for number in range(1, 5):
        sweep(harness, 25)
        assert pings(harness, client) == number
        harness.arrive(client, PONG)
    assert not harness.peers[client].wire.aborted


def test_a_client_is_ended_10_seconds_after_an_unanswered_ping(harness: Harness) -> None:
    client = harness.connect()
    sweep(harness, 34.5)
    assert not harness.peers[client].wire.aborted
    sweep(harness, 0.5)
    assert harness.peers[client].wire.aborted
    assert (client.close_code, harness.metrics["ping_timeouts"]) == (1006, 1)


def test_messages_do_not_answer_a_ping(harness: Harness) -> None:
    client = harness.connect()
    for _ in range(35):
        sweep(harness, 1)
        harness.client_says(client, "hello")
    assert harness.peers[client].wire.aborted


def test_a_client_whose_filters_block_is_not_considered_dead(tmp_path: Path) -> None:
    """Nothing is read while a filter runs, so the answer to the ping may be waiting in the socket."""
    gate = Event()
    harness = build(CONF.replace("echo", "wait"), tmp_path, pipelines={"wait": WAIT})
    waiting: Any = harness.generation.filters[0]
    waiting.gate = gate
    client = harness.connect()
    harness.client_says(client, "hello")
    sweep(harness, 120)
    assert not harness.peers[client].wire.aborted
    gate.set()
    gevent.sleep(0)
    sweep(harness, 9)
    assert not harness.peers[client].wire.aborted
    harness.arrive(client, PONG)
    sweep(harness, 20)
    assert not harness.peers[client].wire.aborted


def test_a_closing_handshake_that_takes_too_long_is_ended(harness: Harness) -> None:
    client = harness.connect()
    client.close(4000, "bye")
    sweep(harness, 4)
    assert not harness.peers[client].wire.aborted
    sweep(harness, 1)
    assert harness.peers[client].wire.aborted


def test_after_our_close_the_peer_is_read_but_not_served(harness: Harness) -> None:
    client = harness.connect()
    client.close(4000, "bye")
    harness.client_says(client, "too late")
    harness.arrive(client, b"\x89\x80\0\0\0\0")
    assert harness.closed(client) == (4000, "bye")
    assert not harness.peers[client].wire.ended
    harness.arrive(client, b"\x88\x82\0\0\0\0\x0f\xa0")
    assert harness.peers[client].wire.ended
    assert (client.close_code, client.close_reason) == (4000, "bye")


def test_after_close_timeout_nothing_more_is_decoded(harness: Harness) -> None:
    """Fault: the bytes that a flooding peer had left in the socket were all decoded, so that TCP ended half a second
    late.
    """
    client = harness.connect()
    client.close(4000, "bye")
    sweep(harness, 5)
    assert harness.peers[client].wire.aborted
    harness.arrive(client, b"\xff\xff")
    assert harness.counted("protocol_errors") == {}


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2000, 5000, -1])
def test_codes_that_may_not_be_sent(harness: Harness, code: int) -> None:
    client = harness.connect()
    with pytest.raises(ValueError, match="may not be sent"):
        client.close(code)
    assert harness.closed(client) is None


def test_a_reason_that_is_too_long_is_cut_at_a_character(harness: Harness) -> None:
    client = harness.connect()
    client.close(4000, "ü" * 100)
    code, reason = harness.closed(client) or (0, "")
    assert code == 4000
    assert reason == "ü" * 61


def test_a_client_that_is_still_sending_is_not_considered_dead(harness: Harness) -> None:
    """The peer cannot answer a ping inside a large frame on a slow link."""
    client = harness.connect()
    frame = harness.peers[client].frame("x" * 1000)
    harness.arrive(client, frame[:10])
    for byte in range(10, 60):
        sweep(harness, 1)
        harness.arrive(client, frame[byte : byte + 1])
    assert not harness.peers[client].wire.aborted
    sweep(harness, 36)
    assert harness.peers[client].wire.aborted


def test_occasional_acknowledgements_of_the_kernel_do_not_answer_a_ping(harness: Harness) -> None:
    """Fault: the kernel of a frozen program acknowledged each publication, and occasional publications kept it
    connected.
    """
    client = harness.connect()
    wire = harness.peers[client].wire
    for number in range(80):
        wire.under_way = 0 if number % 10 else 50
        sweep(harness, 0.5)
        client.send("x" * 100)
    assert wire.aborted


def test_a_client_that_still_reads_from_the_kernel_is_not_considered_dead(harness: Harness) -> None:
    """Fault: a slow reader was ended, because its ping waited behind megabytes in the kernel that were still being
    read.
    """
    client = harness.connect()
    wire = harness.peers[client].wire
    client.send("x" * 1000)
    wire.under_way = 1000
    for _ in range(60):
        sweep(harness, 1)
        wire.under_way -= 10
    assert not wire.aborted
    # It reads no more, though it is sent more.
    for _ in range(12):
        sweep(harness, 1)
        client.send("more")
        wire.under_way += len("..more")
    assert wire.aborted


def test_bytes_that_reach_a_hanging_program_do_not_answer_a_ping(harness: Harness) -> None:
    client = harness.connect()
    for _ in range(35):
        sweep(harness, 1)
        client.send("taken by its kernel at once")
    assert harness.peers[client].wire.aborted


def test_queued_bytes_are_sent_after_the_peers_close_and_fin(harness: Harness) -> None:
    client = harness.connect()
    wire = harness.peers[client].wire
    wire.full = True
    client.send("late")
    harness.arrive(client, b"\x88\x82\0\0\0\0\x03\xe8")
    wire.hang_up()
    harness.settle()
    assert not wire.closed
    wire.drain()
    assert harness.closed(client) == (1000, "")
    sweep(harness, 0.5)
    harness.settle()
    assert wire.closed


def test_an_idle_client_is_closed(tmp_path: Path) -> None:
    harness = build('[limits]\nidle_timeout = "5s"\n[pipelines]\nmessage = ["echo"]\n', tmp_path)
    client = harness.connect()
    for _ in range(4):
        sweep(harness, 4)
        harness.client_says(client, "still here")
    # A pong is no message.
    sweep(harness, 4)
    harness.arrive(client, PONG)
    sweep(harness, 2)
    assert harness.closed(client) == (1008, "no message for too long")
    assert harness.metrics["idle_timeouts"] == 1
