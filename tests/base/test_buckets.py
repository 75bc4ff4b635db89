"""Token buckets: their rate and burst, and that keys are forgotten."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fws.base import buckets as module
from fws.base.buckets import Buckets, TokenBucket
from tests.support import Clock


def test_a_burst_passes_and_then_the_rate() -> None:
    clock = Clock()
    buckets = Buckets(TokenBucket(rate=2.0, burst=3.0), clock)
    assert [buckets.take("ann") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert buckets.wait("ann") == 0.5
    assert buckets.take("bob") == 0.0
    clock.advance(0.5)
    assert buckets.wait("ann") == 0.0
    assert [buckets.take("ann") for _ in range(2)] == [0.0, 0.5]


@given(
    rate=st.floats(0.01, 1000),
    burst=st.integers(1, 50),
    steps=st.lists(st.floats(0, 20), min_size=1, max_size=100),
)
def test_no_more_passes_than_burst_and_rate_allow(rate: float, burst: int, steps: list[float]) -> None:
    """This holds for every pattern of calls, and after the returned wait there is a token."""
    bucket = TokenBucket(rate, burst)
    now = full_at = 1000.0
    passed = 0
    for step in steps:
        now += step
        wait = bucket.wait(full_at, now)
        assert wait <= 1 / rate + 1e-6
        assert bucket.wait(full_at, now + wait) <= 1e-6
        if not wait:
            full_at = bucket.take(full_at, now)
            passed += 1
    assert passed <= burst + rate * (now - 1000.0) + 1e-3


def test_full_buckets_are_forgotten() -> None:
    clock = Clock()
    buckets = Buckets(TokenBucket(1.0, 5.0), clock)
    for number in range(50):
        buckets.take(str(number))
    assert len(buckets) == 50
    clock.advance(60)
    for _ in range(50):
        buckets.take("ann")
        clock.advance(2)
    assert len(buckets) == 1


def test_the_key_that_was_silent_the_longest_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KEYS", 3)
    buckets = Buckets(TokenBucket(0.1, 1.0), Clock())
    for key in ("1", "2", "3", "1", "4", "2"):
        buckets.take(key)
    assert len(buckets) == 3
    assert [bool(buckets.wait(key)) for key in ("1", "2", "3", "4")] == [False, True, True, True]


def test_a_bucket_that_is_full_again_at_once() -> None:
    """Fault: with an extreme rate the new key was forgotten at once, and then there was none left to look at."""
    buckets = Buckets(TokenBucket(1e12, 1e12), lambda: 1e5)
    assert [buckets.take("a") for _ in range(3)] == [0.0, 0.0, 0.0]
