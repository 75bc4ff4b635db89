"""The results that `cache` remembers."""

from __future__ import annotations

from typing import Any

import pytest

from fws.filters._results import OVERHEAD, Results, frozen, thawed
from fws.pipeline.outcomes import Several


@pytest.mark.parametrize("result", ["x", b"x", 1, 1.5, True, None, [1, "x"], {"a": [{"b": b"x"}], "c": None}])
def test_a_copy_is_equal_and_separate(result: Any) -> None:
    data = frozen(result)
    assert data is not None
    assert thawed(data) == result
    assert type(thawed(data)) is type(result)
    if isinstance(result, dict):
        result["a"].append("changed")
        assert thawed(data) == {"a": [{"b": b"x"}], "c": None}


def test_several_messages_stay_several() -> None:
    data = frozen(Several([1, {"a": 2}]))
    assert data is not None
    copy = thawed(data)
    assert isinstance(copy, Several)
    assert copy.items == [1, {"a": 2}]


def test_what_is_no_plain_value_is_not_kept() -> None:
    assert frozen(object()) is None
    assert frozen({"a": object()}) is None


def test_a_result_is_remembered_for_its_time() -> None:
    results = Results(10, 100_000)
    results.put("a", b"1", until=10.0)
    assert results.get("a", 9.9) == b"1"
    assert results.get("a", 10.0) is None
    assert len(results) == 0


def test_the_one_that_was_not_asked_for_the_longest_is_forgotten() -> None:
    results = Results(2, 100_000)
    results.put("a", b"1", 10.0)
    results.put("b", b"2", 10.0)
    results.get("a", 0.0)
    results.put("c", b"3", 10.0)
    assert [results.get(key, 0.0) for key in "abc"] == [b"1", None, b"3"]


def test_results_take_at_most_so_many_bytes() -> None:
    results = Results(100, 3 * (OVERHEAD + 100))
    for key in "abcd":
        results.put(key, b"x" * 100, 10.0)
    assert [results.get(key, 0.0) is not None for key in "abcd"] == [False, True, True, True]
    results.put("b", b"x" * 300, 10.0)
    assert [results.get(key, 0.0) is not None for key in "abcd"] == [False, True, False, True]
    results.put("d", b"x" * 10_000, 10.0)
    assert [results.get(key, 0.0) is not None for key in "abcd"] == [False, True, False, False]
    for number in range(1000):
        results.put("b", b"x" * number, 10.0)
    assert len(results) == 1


def test_results_of_a_filter_with_other_bounds_are_taken_over_within_these() -> None:
    old, new = Results(10, 100_000), Results(2, 100_000)
    for key in "abc":
        old.put(key, key.encode(), 10.0)
    new.adopt(old)
    assert [new.get(key, 0.0) for key in "abc"] == [None, b"b", b"c"]
