from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fws.webhooks.queue import LARGEST, LONGEST, Entry, Queue, Request, Terms


class Waiting:
    """A queue whose events have names such as `a1`: the first of lane `a`. Its repetitions rest as long as they may."""

    def __init__(self, random: float = 1.0, **terms: Any) -> None:
        self.lost: list[str] = []
        self.queue = Queue(Terms(**terms), lambda entry: self.lost.append(entry.id), lambda: random)

    def add(self, *names: str, now: float = 0.0, size: int = 1) -> bool:
        entries = [Entry(name, name[0].strip("-"), b"x" * size, now, now) for name in names]
        accepted = [self.queue.add(entry) for entry in entries]
        return all(accepted)

    def take(self, now: float = 0.0) -> Request:
        request = self.queue.take(now)
        assert request is not None
        return request

    def taken(self, now: float = 0.0) -> list[list[str]]:
        """The events of all requests that can be sent now."""
        found = []
        while (request := self.queue.take(now)) is not None:
            found.append(ids(request))
        return found


def ids(request: Request) -> list[str]:
    return [entry.id for entry in request.entries]


def test_of_one_lane_one_request_is_under_way_and_other_lanes_do_not_wait() -> None:
    waiting = Waiting()
    waiting.add("a1", "a2", "b1", "-1", "-2")
    first = waiting.take()
    assert ids(first) == ["a1"]
    assert waiting.taken() == [["b1"], ["-1"], ["-2"]]
    waiting.queue.delivered(first)
    assert waiting.taken() == [["a2"]]


def test_a_lane_waits_for_a_repetition_and_goes_on_after_giving_up() -> None:
    waiting = Waiting(tries=2)
    waiting.add("a1", "a2")
    request = waiting.take()
    assert waiting.queue.failed(request, 0.0)
    assert waiting.queue.next_at(0.0) == 1.0
    assert waiting.taken(0.9) == []
    assert waiting.take(1.0) is request
    assert not waiting.queue.failed(request, 1.0)
    assert waiting.lost == ["a1"]
    assert waiting.taken(1.0) == [["a2"]]


def test_repetitions_are_spread_over_a_time_that_doubles_up_to_a_bound() -> None:
    waiting = Waiting()
    waiting.add("a1")
    now, rests = 0.0, []
    for _ in range(12):
        request = waiting.take(now)
        waiting.queue.failed(request, now)
        due = waiting.queue.next_at(now)
        assert due is not None
        rests.append(due - now)
        now = due
    assert rests == [1, 2, 4, 8, 16, 32, 64, 128, 256, LONGEST, LONGEST, LONGEST]
    waiting = Waiting(random=0.25)
    waiting.add("a1")
    waiting.queue.failed(waiting.take(), 0.0)
    assert waiting.queue.next_at(0.0) == 0.25


def test_what_the_service_asks_for_is_heeded() -> None:
    waiting = Waiting(random=0.0)
    waiting.add("a1", "b1")
    request = waiting.take()
    waiting.queue.pause(30.0)
    waiting.queue.failed(request, 0.0, at_least=30.0)
    assert waiting.queue.next_at(0.0) == 30.0
    assert waiting.taken(29.9) == []
    assert waiting.taken(30.0) == [["a1"], ["b1"]]


def test_a_request_waits_for_more_events_but_not_for_long() -> None:
    waiting = Waiting(batch=3, wait=1.0)
    waiting.add("a1", "b1")
    assert waiting.taken(0.5) == []
    assert waiting.queue.next_at(0.5) == 1.0
    waiting.add("a2", now=0.6)
    assert waiting.taken(0.6) == [["a1", "a2", "b1"]]
    waiting.add("c1", now=2.0)
    assert waiting.taken(2.9) == []
    assert waiting.taken(3.0) == [["c1"]]
    waiting.add("d1", now=4.0)
    waiting.queue.hurry = True
    assert waiting.taken(4.0) == [["d1"]]


def test_a_request_is_bounded_in_bytes_unless_one_event_is_larger() -> None:
    waiting = Waiting(batch=10, wait=0.0)
    waiting.add("a1", "b1", "c1", size=LARGEST // 2)
    waiting.add("d1", size=LARGEST + 1)
    waiting.add("e1")
    assert waiting.taken() == [["a1", "b1"], ["c1"], ["d1"], ["e1"]]


def test_a_full_queue_accepts_nothing_new_and_keeps_what_it_has() -> None:
    waiting = Waiting(most=2)
    assert waiting.add("a1", "a2")
    assert not waiting.add("a3")
    request = waiting.take()
    assert not waiting.add("a3"), "what is under way counts as well"
    waiting.queue.delivered(request)
    assert waiting.add("a3")
    assert not Waiting(most_bytes=10).add("a1", size=11)
    waiting = Waiting(most_bytes=10)
    assert waiting.add("a1", size=10)
    assert not waiting.add("b1")
    waiting.queue.give_up(waiting.take())
    assert (len(waiting.queue), waiting.queue.size) == (0, 0)


def test_what_is_too_old_is_given_up_and_not_sent() -> None:
    waiting = Waiting(age=60.0)
    waiting.add("a1", "a2", "b1")
    waiting.add("a3", now=1.0)
    assert waiting.taken(60.0) == [["a3"]]
    assert sorted(waiting.lost) == ["a1", "a2", "b1"]
    waiting = Waiting(age=60.0)
    waiting.add("a1")
    assert not waiting.queue.failed(waiting.take(59.5), 59.5), "it would be too old at its next attempt"


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("abc-")),
        st.tuples(st.sampled_from(["take", "deliver", "fail", "give up"]), st.integers(0, 3)),
        st.tuples(st.just("pass"), st.sampled_from([0.1, 1.0, 10.0])),
        st.tuples(st.just("hand over"), st.none()),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(actions=ACTIONS, batch=st.integers(1, 4), most=st.integers(1, 12), age=st.sampled_from([5.0, 1e6]))
def test_no_order_of_outcomes_loses_doubles_or_reorders_events(
    actions: list[tuple[str, Any]], batch: int, most: int, age: float
) -> None:
    """Each accepted event has one end, and the events of a lane are delivered in order."""
    waiting = Waiting(batch=batch, wait=0.5, most=most, age=age, tries=3)
    queue = waiting.queue
    now, number = 0.0, 0
    accepted: list[str] = []
    delivered: list[str] = []
    under_way: list[Request] = []

    def check() -> None:
        lanes = [lane for request in under_way for lane in {entry.lane for entry in request.entries} if lane]
        assert len(lanes) == len(set(lanes)), "two requests of one lane are under way"
        assert len(queue) == len(accepted) - len(delivered) - len(waiting.lost)
        assert len(queue) <= most

    for action, value in actions:
        if action == "add":
            number += 1
            if waiting.add(f"{value}{number}", now=now):
                accepted.append(f"{value}{number}")
        elif action == "pass":
            now += value
        elif action == "take":
            due = queue.next_at(now)
            request = queue.take(now)
            assert request is None or (due is not None and due <= now)
            if request is not None:
                under_way.append(request)
        elif action == "hand over":
            waiting.queue.restore(waiting.queue.drain())
        elif under_way:
            request = under_way.pop(value % len(under_way))
            if action == "deliver":
                queue.delivered(request)
                delivered += ids(request)
            elif action == "give up":
                queue.give_up(request)
            else:
                queue.failed(request, now)
        check()
    # In the end the service is well.
    while len(queue):
        for request in under_way:
            queue.delivered(request)
            delivered += ids(request)
        under_way = []
        due = queue.next_at(now)
        assert due is not None or not len(queue), "something waits, and nothing will ever wake it"
        now = max(now, due or now)
        while (request := queue.take(now)) is not None:
            under_way.append(request)
        check()
    assert sorted(delivered + waiting.lost) == sorted(accepted)
    assert queue.size == 0
    for lane in "abc":
        numbers = [int(name[1:]) for name in delivered if name[0] == lane]
        assert all(first < second for first, second in pairwise(numbers))
