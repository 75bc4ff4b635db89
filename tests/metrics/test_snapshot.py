"""Snapshots: adding, merging, bounds, and the form in a file."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fws.base.histogram import Histogram
from fws.metrics.catalogue import METRICS
from fws.metrics.snapshot import Snapshot


def test_counters_are_added_and_gauges_become_one_as_declared() -> None:
    one, two = Snapshot(), Snapshot()
    for snapshot, number in ((one, 3), (two, 1)):
        snapshot.add("fws_bans_total", number)
        snapshot.add("fws_clients", number, "/")
        snapshot.add("fws_generation", number)
        snapshot.add("fws_redis_up", number)
        snapshot.observe("fws_fanout_seconds", Histogram({4: number}, number))
    two.add("fws_clients", 5, "/chat")
    one.merge(two)
    assert one.numbers["fws_bans_total"] == {(): 4}
    assert one.numbers["fws_clients"] == {("/",): 4, ("/chat",): 5}
    assert one.numbers["fws_generation"] == {(): 3}
    assert one.numbers["fws_redis_up"] == {(): 1}
    spread = one.histograms["fws_fanout_seconds"][()]
    assert (spread.times, spread.seconds) == ({4: 4}, 4)
    assert two.histograms["fws_fanout_seconds"][()].count == 1


def test_gauges_of_a_process_that_is_gone_are_left_out() -> None:
    one, two = Snapshot(), Snapshot()
    two.add("fws_clients", 5, "/")
    two.add("fws_bans_total", 2)
    one.merge(two, gauges=False)
    assert one.numbers == {"fws_bans_total": {(): 2}}


def test_a_metric_has_no_more_series_than_declared() -> None:
    most = METRICS["fws_custom_total"].most
    merged = Snapshot()
    for worker in range(4):
        snapshot = Snapshot()
        for number in range(most):
            snapshot.add("fws_custom_total", 1, f"{worker} {number}")
        merged.merge(snapshot)
    series = merged.numbers["fws_custom_total"]
    assert len(series) == most
    assert sum(series.values()) == 4 * most
    assert series[("other",)] == 3 * most + 1


def test_a_file_gives_the_same_snapshot() -> None:
    snapshot = Snapshot()
    snapshot.add("fws_refused_total", 7, "403", "origin")
    snapshot.add("fws_outbox_bytes", 2**40)
    snapshot.observe("fws_stage_seconds", Histogram({0: 1, 70: 2}, 0.5), "/", "message", "guard/json")
    again = Snapshot.decode(snapshot.encode())
    assert again.numbers == snapshot.numbers
    spread = again.histograms["fws_stage_seconds"]["/", "message", "guard/json"]
    assert (spread.times, spread.seconds) == ({0: 1, 70: 2}, 0.5)


def test_a_file_of_another_version_gives_what_is_known() -> None:
    numbers = {"fws_bans_total": [((), 1.0), (("label",), 1.0)], "fws_former_total": [((), 1.0)]}
    histograms = {"fws_bans_total": [((), ({1: 1}, 0.5))], "fws_fanout_seconds": [((), ({1: 1}, 0.5))]}
    found = Snapshot.decode(msgspec.msgpack.encode((numbers, histograms)))
    assert found.numbers == {"fws_bans_total": {(): 1}}
    assert list(found.histograms) == ["fws_fanout_seconds"]


@given(st.binary(max_size=200))
def test_what_is_no_snapshot_is_a_value_error(data: bytes) -> None:
    try:
        Snapshot.decode(data)
    except ValueError:
        pass


def test_half_a_file_is_a_value_error() -> None:
    snapshot = Snapshot()
    snapshot.add("fws_bans_total", 1)
    data = snapshot.encode()
    with pytest.raises(ValueError, match="truncated"):
        Snapshot.decode(data[: len(data) // 2])
