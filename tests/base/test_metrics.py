"""Counters, and the summary of them in the log."""

from __future__ import annotations

from fws.base.metrics import LONGEST, MOST_LABELS, MOST_NAMES, Metrics


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


def test_a_reason_is_apart_from_the_label_and_the_log_does_not_show_it() -> None:
    metrics = Metrics()
    metrics.count("refused", label=403, reason="origin")
    metrics.count("refused", label=403, reason="banned")
    assert metrics.all() == {"refused_403": 2}
    assert sorted(metrics) == [("refused", "403", "banned", 1), ("refused", "403", "origin", 1)]


def test_normal_traffic_with_a_label_is_not_in_the_summary_either() -> None:
    metrics = Metrics()
    metrics.count("closes", label=1000)
    assert metrics.news() == ""
    assert metrics["closes_1000"] == 1


def test_names_and_labels_that_filters_make_up_are_bounded() -> None:
    """A filter that counts under what its clients send must not fill the memory."""
    metrics = Metrics()
    for number in range(1, 3 * MOST_NAMES + 1):
        metrics.count(f"name {number}")
        metrics.count("orders", label=f"client {number}" + "x" * 1000)
        metrics.count("refused", label=number, reason=f"why {number}")
        metrics.count("bans", label=number)
    counted = list(metrics)
    assert sum(one.number for one in counted) == 12 * MOST_NAMES
    assert len([one for one in counted if one.name != "refused"]) == MOST_NAMES + 1
    assert len([one for one in counted if one.name == "refused"]) == MOST_LABELS + 1
    assert max(len(text) for one in counted for text in one[:3]) == LONGEST
    assert metrics["other"] > 0
