"""Counters, and the summary of them in the log."""

from __future__ import annotations

from fws.base.metrics import Metrics


def test_the_summary_has_new_counts_in_descending_order_without_traffic() -> None:
    metrics = Metrics()
    assert metrics.news() == ""
    metrics.count("refused", label=403)
    metrics.count("failed_logins", 3)
    metrics.count("publications", 1000)
    assert metrics.news() == "failed_logins 3, refused_403 1"
    metrics.count("refused", 2, label=403)
    assert metrics.news() == "refused_403 2"
    assert metrics.news() == ""
    assert metrics["refused_403"] == 3
