"""What is collected from a node, and that hostile clients cannot make series."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gevent
import pytest

from fws.base.metrics import Metrics
from fws.base.reasons import REASONS
from fws.metrics.collect import add_counters
from fws.metrics.snapshot import Snapshot
from fws.pipeline.pipeline import StepId
from fws.pipeline.tally import StageCounts
from tests.integration.raw import CLOSE, frame
from tests.metrics.site import snapshot_of, walk_of
from tests.server.served import Served, everything, get, upgrade
from tests.support import build

CONF = """
[server]
subprotocols = ["chat"]
compression = true
[endpoints."/chat/{room}"]
connect = ["join {room}"]
message = ["echo"]
[pipelines]
message = ["echo"]
[channels."{room}"]
history = 10
presence = true
"""
Start = Callable[[str], Served]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def start(toml: str) -> Served:
            served = Served(toml, tmp_path)
            stack.callback(served.stop)
            return served

        yield start


def series(snapshot: Snapshot) -> set[tuple[str, ...]]:
    """The names and labels of all series."""
    numbers = {(name, *labels) for name, found in snapshot.numbers.items() for labels in found}
    return numbers | {(name, *labels) for name, found in snapshot.histograms.items() for labels in found}


def test_clients_channels_history_and_presence(tmp_path: Path) -> None:
    harness = build(CONF, tmp_path)
    for target in ("/chat/tea", "/chat/tea", "/chat/milk", "/else"):
        harness.connect(target)
    harness.node.channels.publish("tea", "hello")
    harness.settle()
    numbers = snapshot_of(harness.node).numbers
    assert numbers["fws_clients"] == {("/chat/{room}",): 3, ("*",): 1}
    assert numbers["fws_channels"] == {(): 2}
    assert (numbers["fws_presence_channels"], numbers["fws_presence_members"]) == ({(): 2}, {(): 3})
    assert (numbers["fws_history_channels"], numbers["fws_history_publications"]) == ({(): 1}, {(): 1})
    assert numbers["fws_history_bytes"][()] > 100
    assert numbers["fws_publications_total"] == {(): 1}
    assert numbers["fws_generation"] == {(): 1}
    assert "fws_redis_up" not in numbers


def test_endpoints_without_clients_have_none(tmp_path: Path) -> None:
    numbers = snapshot_of(build(CONF, tmp_path).node).numbers
    assert numbers["fws_clients"] == {("/chat/{room}",): 0, ("*",): 0}
    assert numbers["fws_slow_consumers_total"] == {(): 0}
    assert numbers["fws_reloads_total"][("refused",)] == 0


def test_a_walk_over_many_clients_lets_others_have_their_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """50,000 clients must not wait until all of them are counted."""
    monkeypatch.setattr("fws.runtime.scheduler.BUDGET", 0.0)
    harness = build(CONF, tmp_path)
    for _ in range(450):
        harness.connect("/chat/tea")
    turns = 0

    def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            gevent.sleep(0)

    walk = walk_of(harness.node)
    greenlet = gevent.spawn(other)
    try:
        gevent.sleep(0)
        before = turns
        assert walk.result().numbers["fws_clients"] == {("/chat/{room}",): 450}
        assert turns > before + 1
    finally:
        greenlet.kill()
    harness.connect("/chat/tea")
    assert walk.result().numbers["fws_clients"] == {("/chat/{room}",): 450}  # for a moment the result is kept
    harness.clock.advance(60)
    assert walk.result().numbers["fws_clients"] == {("/chat/{room}",): 451}


def test_stages_have_counts_and_times(tmp_path: Path) -> None:
    counts = StageCounts()
    counts.runs, counts.drops = 7, 2
    counts.times.observe(0.5, 7)
    stages = {StepId("/chat/{room}", "message", ("guard", "json")): counts, StepId(None, "tick", ("log",)): counts}
    snapshot = snapshot_of(build(CONF, tmp_path).node, stages)
    labels = ("/chat/{room}", "message", "guard/json")
    assert snapshot.numbers["fws_stage_runs_total"] == {labels: 7, ("*", "tick", "log"): 7}
    assert snapshot.numbers["fws_stage_drops_total"][labels] == 2
    assert snapshot.numbers["fws_stage_refusals_total"][labels] == 0
    assert snapshot.histograms["fws_stage_seconds"][labels].count == 7


def test_what_a_filter_counts_is_one_metric(tmp_path: Path) -> None:
    metrics = Metrics()
    metrics.count("orders", 2)
    metrics.count("orders", 3, label="paid")
    metrics.count("publications", 4)
    snapshot = Snapshot()
    add_counters(snapshot, metrics)
    assert snapshot.numbers["fws_custom_total"] == {("orders",): 2, ("orders_paid",): 3}
    assert snapshot.numbers["fws_publications_total"] == {(): 4}


def hostile(number: int) -> list[bytes]:
    """Requests with a part that no other one has."""
    return [
        get(f"/{number}", "Connection: close"),
        get(f"/chat/{number}", "Connection: close"),
        get("/", method=f"M{number}"),
        get("/", f"X-{number}: a", "Content-Length: x"),
        upgrade(f"/chat/{number}", f"Origin: https://{number}.example"),
        upgrade("/", f"Sec-WebSocket-Protocol: {number},{number}"),
        upgrade("/", f"Sec-WebSocket-Extensions: ={number}"),
        f"{number}\r\n\r\n".encode(),
    ]


def closes(served: Served, code: int) -> None:
    """A client ends with a close code of its own."""
    with served.connect() as sock:
        sock.sendall(upgrade("/chat/tea") + frame(CLOSE, struct.pack("!H", code) + b"why"))
        everything(sock)


def attack(served: Served, numbers: range) -> Any:
    for number in numbers:
        for request in hostile(number):
            served.ask(request)
        for base in (1000, 3000, 4000, 4400):
            closes(served, base + number)
    return snapshot_of(served.node)


def test_hostile_clients_make_no_series(start: Start) -> None:
    """Each label has values that the configuration or fws bounds: never a path, origin, method, header or code."""
    served = start(CONF)
    few = series(attack(served, range(1, 20)))
    many = attack(served, range(100, 140))
    assert {one for one in series(many) - few if one[0] != "fws_closes_total"} == set()
    assert {labels[0] for labels in many.numbers["fws_closes_total"]} >= {"1001", "3001", "3xxx", "4xxx", "4401"}
    assert len(many.numbers["fws_closes_total"]) < 60
    assert {reason for _, reason in many.numbers["fws_refused_total"]} == {"handshake", "origin", "request"}
    assert {reason for _, reason in many.numbers["fws_refused_total"]} <= REASONS
