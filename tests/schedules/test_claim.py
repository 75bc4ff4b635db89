"""Which node runs a tick: each runs at most once, and a dead node holds a schedule for some seconds only."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fws.schedules.claim import LEASE, Claims
from fws.storages.memory import MemoryStorage
from fws.testing.loop import Clock


class Nodes:
    """Some nodes that share a storage."""

    def __init__(self) -> None:
        self.clock = Clock(1000.0)
        self.storage = MemoryStorage(self.clock)
        self.nodes = [Claims(self.storage, "schedule:beat", name) for name in ("a", "b", "c")]


def test_one_node_runs_a_tick() -> None:
    at = Nodes()
    assert [node.take(10.0, overlap=False)[0] for node in at.nodes] == [True, False, False]
    at.nodes[0].release()
    assert [node.take(10.0, overlap=False)[0] for node in at.nodes] == [False, False, False]
    assert at.nodes[2].take(15.0, overlap=False) == (True, 10.0)


def test_a_tick_that_runs_holds_the_next_one_back() -> None:
    at = Nodes()
    assert at.nodes[0].take(10.0, overlap=False)[0]
    assert not at.nodes[1].take(15.0, overlap=False)[0]
    assert at.nodes[1].take(15.0, overlap=True)[0]


def test_a_node_holds_it_back_while_it_renews_its_claim() -> None:
    at = Nodes()
    assert at.nodes[0].take(10.0, overlap=False)[0]
    for _ in range(10):
        at.clock.advance(LEASE * 0.9)
        assert at.nodes[0].renew()
    assert not at.nodes[1].take(15.0, overlap=False)[0]


def test_a_dead_node_holds_nothing_back_for_long() -> None:
    at = Nodes()
    assert at.nodes[0].take(10.0, overlap=False)[0]
    at.clock.advance(LEASE + 0.001)
    assert not at.nodes[1].take(10.0, overlap=False)[0], "its own tick is not run again"
    assert at.nodes[1].take(30.0, overlap=False)[0]
    assert not at.nodes[0].renew(), "the first node has lost it"
    at.nodes[0].release()
    assert not at.nodes[2].take(40.0, overlap=False)[0], "and cannot release what another one has"


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "é", "-1e300", "1e300"])
def test_a_foreign_value_is_replaced(text: str) -> None:
    at = Nodes()
    at.storage.set("schedule:beat", text)
    assert at.nodes[0].take(10.0, overlap=False) == (True, None)


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(st.sampled_from(["take", "release", "renew", "wait"]), st.integers(0, 2), st.integers(1, 8)),
        max_size=60,
    ),
    st.booleans(),
)
def test_no_tick_ever_runs_twice(steps: list[tuple[str, int, int]], overlap: bool) -> None:
    """Ticks are asked for in any order and by any node, while claims expire."""
    at = Nodes()
    run: list[int] = []
    for what, number, due in steps:
        node = at.nodes[number]
        if what == "take":
            if node.take(float(due), overlap=overlap)[0]:
                run.append(due)
        elif what == "release":
            node.release()
        elif what == "renew":
            node.renew()
        else:
            at.clock.advance(float(due) * 2)
    assert run == sorted(set(run))
