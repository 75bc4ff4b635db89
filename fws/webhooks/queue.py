"""The events that wait for a service: lanes, which keep their order, requests, which carry them, and repetitions.

Pure: times are passed in, in monotonic seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count

import msgspec

# The most bytes of the events in one request, unless a single event is larger.
LARGEST = 1024 * 1024
# Seconds after which a request is repeated: up to the first number after its first attempt, up to twice that after each
# further one, and never more than the second number.
FIRST = 1.0
LONGEST = 300.0


class Terms(msgspec.Struct, frozen=True):
    """How events are sent.

    Attributes:
        batch: the most events of a request.
        wait: seconds that an event waits for others, if a request can have more than one.
        tries: the most attempts to send a request.
        age: seconds after which an event is given up.
        most, most_bytes: how many events, and bytes of them, may wait and be under way.
    """

    batch: int = 1
    wait: float = 1.0
    tries: int = 20
    age: float = 86400.0
    most: int = 10_000
    most_bytes: int = 16 * 1024 * 1024


class Entry:
    """One event that waits.

    Attributes:
        id: identifies the event, in each attempt to send it.
        lane: events of one lane are sent in order; empty for those without an order.
        body: the event as JSON.
        since: when it happened.
        at: the same as Unix time.
        trace: the `traceparent` of the event, if that is traced; else empty.
        place: the journal's log and the number in it, once the event has one.
    """

    __slots__ = ("at", "body", "id", "lane", "place", "since", "trace")

    def __init__(self, id: str, lane: str, body: bytes, since: float, at: float, trace: str = "") -> None:
        self.id = id
        self.lane = lane
        self.body = body
        self.since = since
        self.at = at
        self.trace = trace
        self.place: tuple[str, int] | None = None


class Request:
    """Events that are sent together. They are the same in each attempt.

    Attributes:
        tries: attempts that have failed.
    """

    __slots__ = ("entries", "tries")

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.tries = 0


class Queue:
    """Events from their arrival until they are delivered or given up.

    The guarantee: of one lane at most one request is under way. The next one begins when it is delivered or given up,
    so that the events of a lane are sent in the order of their arrival. Lanes do not wait for one another, except that
    all lanes of a request wait for it. A full queue accepts nothing new: what it has accepted stays.

    Args:
        given_up: called with each event that will not be sent any more.
        random: numbers from 0 to 1, which spread the repetitions.

    Attributes:
        terms: how events are sent.
        hurry: whether events are sent without waiting for others.
        size: bytes of the events in the queue.
    """

    def __init__(self, terms: Terms, given_up: Callable[[Entry], object], random: Callable[[], float]) -> None:
        self.terms = terms
        self.hurry = False
        self.size = 0
        self._given_up = given_up
        self._random = random
        self._count = 0
        # What waits, by lane. A lane is busy while a request has events of it, and is ready if it is not busy.
        self._lanes: dict[str, deque[Entry]] = {}
        self._busy: set[str] = set()
        # The lanes that are ready, the one whose turn it is first, and the number of events in them.
        self._ready: dict[str, None] = {}
        self._ready_events = 0
        # Requests that will be repeated: when, a number that keeps their order, the request.
        self._resting: list[tuple[float, int, Request]] = []
        self._numbers = count()
        self._paused_until = 0.0

    def __len__(self) -> int:
        """The number of events in the queue, those under way included."""
        return self._count

    def add(self, entry: Entry) -> bool:
        """Accept an event. Returns False, and does nothing, if the queue is full."""
        if self._count >= self.terms.most or self.size + len(entry.body) > self.terms.most_bytes:
            return False
        self._count += 1
        self.size += len(entry.body)
        lane = entry.lane
        waiting = self._lanes.get(lane)
        if waiting is None:
            waiting = self._lanes[lane] = deque()
        waiting.append(entry)
        if lane not in self._busy:
            self._ready[lane] = None
            self._ready_events += 1
        return True

    def drain(self) -> list[Entry]:
        """Remove the events that are not under way, and return them. The order of each lane is kept."""
        resting = sorted(self._resting)
        self._resting.clear()
        for _, _, request in resting:
            self._settle(request)
        entries = [entry for _, _, request in resting for entry in request.entries]
        rest = [entry for waiting in self._lanes.values() for entry in waiting]
        self._lanes.clear()
        self._ready.clear()
        self._ready_events = 0
        self._count -= len(rest)
        self.size -= sum(len(entry.body) for entry in rest)
        return entries + rest

    def restore(self, entries: Sequence[Entry]) -> None:
        """Accept events that were in another queue, before those that wait here, and even if this one is full."""
        for entry in reversed(entries):
            self._count += 1
            self.size += len(entry.body)
            self._lanes.setdefault(entry.lane, deque()).appendleft(entry)
            if entry.lane not in self._busy:
                self._ready[entry.lane] = None
                self._ready_events += 1

    def next_at(self, now: float) -> float | None:
        """When `take` will have something; None if that depends on a new event or on the end of a request."""
        times = [self._resting[0][0]] if self._resting else []
        if self._ready:
            head = self._lanes[next(iter(self._ready))][0]
            complete = self.hurry or self._ready_events >= self.terms.batch
            times.append(now if complete else head.since + self.terms.wait)
        return max(min(times), self._paused_until) if times else None

    def take(self, now: float) -> Request | None:
        """The next request to send, which is under way from now on; None if nothing is due.

        The caller reports its outcome with `delivered`, `failed` or `give_up`.
        """
        due = self.next_at(now)
        if due is None or due > now:
            return None
        if self._resting and self._resting[0][0] <= now:
            return heappop(self._resting)[2]
        entries = self._gather(now)
        return Request(entries) if entries else None

    def delivered(self, request: Request) -> None:
        """The service has taken a request."""
        self._settle(request)

    def failed(self, request: Request, now: float, at_least: float = 0.0) -> bool:
        """An attempt has failed. Returns whether the request is sent again; otherwise it is given up.

        Args:
            at_least: seconds until it may be sent again.
        """
        terms = self.terms
        request.tries += 1
        rest = self._random() * min(LONGEST, FIRST * 2.0 ** min(request.tries - 1, 30))
        due = now + max(rest, at_least)
        if request.tries >= terms.tries or max(entry.since for entry in request.entries) + terms.age <= due:
            self.give_up(request)
            return False
        heappush(self._resting, (due, next(self._numbers), request))
        return True

    def give_up(self, request: Request) -> None:
        """A request will never be delivered."""
        self._settle(request)
        for entry in request.entries:
            self._given_up(entry)

    def pause(self, until: float) -> None:
        """Send nothing before this time."""
        self._paused_until = max(self._paused_until, until)

    def _gather(self, now: float) -> list[Entry]:
        """The events of a new request, whose lanes become busy. Those that are too old are given up."""
        entries: list[Entry] = []
        size, room, oldest = 0, True, now - self.terms.age
        while self._ready and room and len(entries) < self.terms.batch:
            lane = next(iter(self._ready))
            waiting = self._lanes[lane]
            begin = len(entries)
            while waiting and len(entries) < self.terms.batch:
                if waiting[0].since <= oldest:
                    self._ready_events -= 1
                    self._drop(waiting.popleft())
                    continue
                size += len(waiting[0].body)
                if entries and size > LARGEST:
                    room = False
                    break
                self._ready_events -= 1
                entries.append(waiting.popleft())
            if not waiting:
                del self._lanes[lane]
            if lane and len(entries) > begin:
                self._busy.add(lane)
                self._ready_events -= len(waiting)
                del self._ready[lane]
            elif not waiting:
                del self._ready[lane]
        return entries

    def _drop(self, entry: Entry) -> None:
        self._count -= 1
        self.size -= len(entry.body)
        self._given_up(entry)

    def _settle(self, request: Request) -> None:
        """The events of a request are no longer in the queue, and their lanes are ready again."""
        for entry in request.entries:
            self._count -= 1
            self.size -= len(entry.body)
            lane = entry.lane
            if lane in self._busy:
                self._busy.discard(lane)
                if lane in self._lanes:
                    self._ready[lane] = None
                    self._ready_events += len(self._lanes[lane])
