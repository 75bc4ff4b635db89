"""What is counted is what has gone through the sockets."""

from __future__ import annotations

from pathlib import Path

from tests.support import build


def test_bytes_and_messages_are_counted_in_both_directions(tmp_path: Path) -> None:
    harness = build('[pipelines]\nconnect = ["join all"]\nmessage = ["reply got", "broadcast all"]', tmp_path)
    clients = [harness.connect() for _ in range(3)]
    traffic = harness.node.context.traffic
    assert traffic.connects == 3
    harness.client_says(clients[0], "hello", "you")
    harness.settle()
    assert (traffic.replies, traffic.deliveries, traffic.sent) == (2, 6, 8)
    assert traffic.bytes_out == sum(len(harness.peers[client].wire.written) for client in clients)


def test_a_slow_consumer_has_got_what_its_socket_has_taken(tmp_path: Path) -> None:
    harness = build('[pipelines]\nmessage = ["echo"]', tmp_path)
    client = harness.connect()
    wire = harness.peers[client].wire
    traffic = harness.node.context.traffic
    before = traffic.bytes_out
    wire.room = 5
    harness.client_says(client, "a" * 100, "b")
    assert traffic.bytes_out - before == 5
    wire.room = 10_000
    wire.drain()
    assert traffic.bytes_out - before == 102 + 3
