"""The catalogue of metrics: names as Prometheus' conventions want them, and each counter of fws."""

from __future__ import annotations

import re

from fws.base.counters import COUNTERS
from fws.metrics.catalogue import CATALOGUE, METRICS

FORBIDDEN = {"client", "user", "channel", "address", "origin", "path"}


def test_names_follow_the_conventions() -> None:
    assert len(METRICS) == sum(map(len, CATALOGUE.values()))
    for metric in METRICS.values():
        assert re.fullmatch(r"(fws|process)_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.kind != "histogram" or metric.name.endswith("_seconds")
        assert not re.search(r"_(ms|millis|kb|count|sum|bucket)$", metric.name)


def test_help_is_one_sentence_without_markdown() -> None:
    for metric in METRICS.values():
        assert re.fullmatch(r"[^`]+\.", metric.text), metric.text
        assert "](" not in metric.text
        assert "\n" not in metric.text


def test_no_label_is_what_a_client_can_choose() -> None:
    assert not FORBIDDEN & {label for metric in METRICS.values() for label in metric.labels}


def test_every_counter_is_a_metric() -> None:
    """The log and `/metrics` show the same counters, under names that follow from one another."""
    for counter in COUNTERS.values():
        metric = METRICS[f"fws_{counter.name}_total"]
        assert metric.labels[:1] == ((counter.label,) if counter.label else ())
        assert metric.log == ("" if counter.traffic else counter.shown)
    assert METRICS["fws_refused_total"].labels == ("status", "reason")
