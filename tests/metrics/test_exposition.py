"""The text that Prometheus reads."""

from __future__ import annotations

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from fws.base.histogram import Histogram
from fws.metrics.catalogue import METRICS
from fws.metrics.exposition import exposition
from fws.metrics.snapshot import Snapshot

HOSTILE = 'a"\n\\{}é😀\x00'


def sample() -> Snapshot:
    histogram = Histogram()
    for seconds in (1e-7, 3.9e-6, 4.1e-6, 0.5, 100.0):
        histogram.observe(seconds, 2)
    snapshot = Snapshot()
    snapshot.add("fws_refused_total", 3, "403", "origin")
    snapshot.add("fws_clients", 2, HOSTILE)
    snapshot.observe("fws_stage_seconds", histogram, "/", "message", "json")
    return snapshot


def test_both_formats_give_the_same_numbers() -> None:
    text, kind = exposition(sample(), "text/plain", lambda: None)
    assert kind.startswith("text/plain; version=0.0.4")
    plain = {sample.name: sample.value for family in parse(text.decode()) for sample in family.samples}
    text, kind = exposition(sample(), "application/openmetrics-text; version=1.0.0", lambda: None)
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    open_ = {sample.name: sample.value for family in parse_openmetrics(text.decode()) for sample in family.samples}  # type: ignore[no-untyped-call]
    assert plain == open_
    assert plain["fws_refused_total"] == 3


def test_buckets_are_cumulative_and_have_powers_of_four_as_limits() -> None:
    text, _ = exposition(sample(), "", lambda: None)
    families = {family.name: family for family in parse(text.decode())}
    samples = families["fws_stage_seconds"].samples
    buckets = {s.labels["le"]: s.value for s in samples if s.name == "fws_stage_seconds_bucket"}
    assert list(buckets)[:3] == ["4e-06", "1.6e-05", "6.4e-05"]
    assert (buckets["4e-06"], buckets["1.6e-05"], buckets["1.048576"], buckets["16.777216"]) == (4, 6, 8, 8)
    assert buckets["+Inf"] == 10
    [count] = [s.value for s in samples if s.name == "fws_stage_seconds_count"]
    assert count == 10
    assert "sampled" in families["fws_stage_seconds"].documentation


def test_no_label_breaks_the_text() -> None:
    text, _ = exposition(sample(), "", lambda: None)
    [clients] = [family for family in parse(text.decode()) if family.name == "fws_clients"]
    assert clients.samples[0].labels == {"endpoint": HOSTILE}


def test_others_have_their_turn_while_text_is_made() -> None:
    """The histograms of 1,000 stages are 14,000 lines of one metric."""
    snapshot = Snapshot()
    turns: list[None] = []
    for number in range(100):
        snapshot.observe("fws_stage_seconds", Histogram({1: 1}, 0.1), "/", "message", str(number))
    exposition(snapshot, "", lambda: turns.append(None))
    assert len(turns) > 100


def test_the_help_of_every_metric_is_shown() -> None:
    snapshot = Snapshot()
    for metric in METRICS.values():
        if metric.kind == "histogram":
            snapshot.observe(metric.name, Histogram(), *metric.labels)
        else:
            snapshot.add(metric.name, 1, *metric.labels)
    text, _ = exposition(snapshot, "", lambda: None)
    found = {family.name: family.documentation for family in parse(text.decode())}
    assert found == {name.removesuffix("_total"): metric.text for name, metric in METRICS.items()}
