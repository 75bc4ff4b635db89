from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import fws.base.leases as module
from fws.base.leases import LEASE, PART, Leases
from fws.storages.memory import MemoryStorage
from tests.support import Clock


class Nodes:
    """Some nodes that share the buckets of one storage, and when each event passed."""

    def __init__(self, count: int, rate: float, burst: int) -> None:
        self.clock = Clock(1000.0)
        self.rate, self.burst = rate, burst
        self.storage = MemoryStorage(self.clock)
        self.leases = [Leases(rate, burst, self.clock) for _ in range(count)]
        self.asked = 0
        self.passed: list[float] = []

    def event(self, node: int, key: str = "k", late: float = 0.0) -> bool:
        """An event on a node. Returns whether it passed.

        Args:
            late: seconds until the storage's answer arrives.
        """
        own = self.leases[node]
        wait = own.spend(key)
        if wait is None:
            self.asked += 1
            wanted, began = own.wanted(key, 1), self.clock()
            got, left = self.storage.take(key, wanted, self.rate, self.burst)
            # The event happened when its token was taken.
            when = self.clock()
            self.clock.advance(late)
            wait = own.answered(key, wanted, got, left, began)
        else:
            when = self.clock()
        if not wait:
            self.passed.append(when)
        return not wait


RATES = st.sampled_from([0.1, 1.0, 7.5, 40.0, 1000.0])
BURSTS = st.sampled_from([1, 2, 9, 30, 200])
# A node, how many events it has at once, the seconds until the next ones, and those until an answer arrives.
STEPS = st.tuples(
    st.integers(0, 2),
    st.sampled_from([1, 2, 3, 17, 40, 300]),
    st.sampled_from([0.0, 0.001, 0.05, 0.4, 0.999, 1.0, 3.0, 8.0, 30.0]),
    st.sampled_from([0.0, 0.0, 0.0, 0.01, 1.5]),
)
# Each node has a lease, and is quiet until the bucket is full again. Then there are as many events as ever.
QUIET = [
    *((node, 17, 0.0, 0.0) for node in (0, 1, 2)),
    (0, 1, 8.0, 0.0),
    *((node, 300, 0.0, 0.0) for node in (0, 1, 2)),
]
# The same, with an answer that arrives late.
LATE = [(0, 31, 8.0, 0.0), (0, 1, 0.9, 1.5), (0, 300, 0.0, 0.0)]


@settings(max_examples=60, deadline=None)
@given(rate=RATES, burst=BURSTS, steps=st.lists(STEPS, max_size=12))
@example(rate=7.5, burst=200, steps=QUIET)
@example(rate=7.5, burst=200, steps=LATE)
def test_in_no_span_do_all_nodes_let_more_pass_than_a_bucket_in_a_second_more(
    rate: float, burst: int, steps: list[tuple[int, int, float, float]]
) -> None:
    nodes = Nodes(3, rate, burst)
    for node, events, later, late in steps:
        for _ in range(events):
            nodes.event(node, late=late)
        nodes.clock.advance(later)
    # A count of events in a span, less what the bucket gains in it, is greatest from the event that is furthest ahead.
    furthest = float("-inf")
    for number, when in enumerate(sorted(nodes.passed)):
        furthest = max(furthest, rate * when - number)
        assert number + 1 - rate * when + furthest <= burst + rate * LEASE + 1e-6


def test_the_burst_passes_wherever_it_arrives_and_then_the_rate() -> None:
    nodes = Nodes(2, rate=100.0, burst=50)
    assert [nodes.event(n % 2) for n in range(60)].count(True) == 50
    passed = 0
    for _ in range(1000):
        nodes.clock.advance(0.001)
        passed += nodes.event(0) + nodes.event(1)
    assert 90 <= passed <= 100, "in a second of too many events, as many as the rate says"


def test_a_busy_node_asks_seldom() -> None:
    nodes = Nodes(1, rate=1000.0, burst=1000)
    for _ in range(1000):
        assert nodes.event(0)
        nodes.clock.advance(0.001)
    assert nodes.asked < 20


def test_events_above_the_rate_are_refused_without_asking() -> None:
    nodes = Nodes(1, rate=10.0, burst=10)
    for _ in range(10_000):
        nodes.event(0)
        nodes.clock.advance(0.0001)
    assert len(nodes.passed) <= 20
    assert nodes.asked < 50


def test_a_lease_is_as_large_as_the_demand_and_at_most_a_part() -> None:
    nodes = Nodes(1, rate=1000.0, burst=1000)
    own = nodes.leases[0]
    for _ in range(500):
        nodes.event(0)
    assert own.wanted("k", 1) == 1000 // PART
    assert own.wanted("k", 300) == 300, "events that wait spend their tokens at once"
    assert own.wanted("k", 3000) == 1000
    before = own.left("k")
    assert before
    nodes.clock.advance(LEASE)
    assert own.left("k") == 0, "what is not spent in time is forgotten"
    for _ in range(3):
        nodes.event(0)
        nodes.clock.advance(LEASE)
    assert own.wanted("k", 1) == 1


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KEYS", 100)
    nodes = Nodes(1, rate=0.001, burst=1)
    for number in range(300):
        assert nodes.event(0, f"{number}")
    assert len(nodes.leases[0]) == 100
    nodes.clock.advance(3600)
    for number in range(60):
        nodes.event(0, f"new {number}")
    assert len(nodes.leases[0]) <= 60, "keys that need not be remembered are forgotten first"
