"""Whatever happens, no member sees a duplicate, a wrong order or a silent hole.

Two nodes share a history that a test tears apart: deliveries are late or lost, answers are late or fail, the history
is trimmed, emptied, or loses its newest publications. Clients join, leave, and return on either node with the position
that they know. A model of everything that was ever stored judges what each client has received.
"""

from __future__ import annotations

import json
import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fws.clients.client import Client
from fws.config import Channel
from fws.histories.base import Follower, Page
from fws.pipeline.publication import Position, Publication
from tests.support import Harness, build

KEPT = 3
CONF = f"""
[channels."lobby"]
history = {KEPT}
[pipelines]
connect = ["join lobby since=request.query.since"]
[endpoints."/p"]
positions = true
connect = ["join lobby since=request.query.since"]
"""


class Stored(msgspec.Struct):
    """A publication that was stored. `lost` if the history has lost it since."""

    epoch: str
    offset: int
    text: str
    lost: bool = False

    @property
    def publication(self) -> Publication:
        return Publication("lobby", self.text, offset=self.offset, epoch=self.epoch)


class World:
    """The history that both nodes share, and everything that it has ever stored.

    Attributes:
        ever: in the order of storing.
        began: the offset after which the present epoch began.
        ended: for each earlier epoch, the last offset that was left of it and the last that was ever stored.
    """

    def __init__(self) -> None:
        self.ever: list[Stored] = []
        self.kept: deque[Stored] = deque(maxlen=KEPT)
        self.epochs = 1
        self.epoch = "e1"
        self.offset = 0
        self.began = 0
        self.ended: dict[str, tuple[int, int]] = {}
        self.away = False
        self.nodes: list[Torn] = []

    def store(self, text: str) -> None:
        self.offset += 1
        stored = Stored(self.epoch, self.offset, text)
        self.ever.append(stored)
        self.kept.append(stored)
        for node in self.nodes:
            if node.followed:
                node.deliveries.append(stored)

    def begin_epoch(self) -> None:
        self.epochs += 1
        self.epoch = f"e{self.epochs}"
        self.began = self.offset

    def empty(self) -> None:
        """Everything is lost, positions included."""
        for one in self.kept:
            one.lost = True
        self.kept.clear()
        self.ended.clear()
        self.offset = 0
        self.begin_epoch()

    def fall_back(self, count: int) -> None:
        """The newest publications of the present epoch are lost, as when a replica is promoted.

        A replica that lacks a publication also lacks the epochs that began after it. This world knows them, so that it
        cannot lose publications of earlier ones.
        """
        last = self.offset
        for _ in range(min(count, len(self.kept), self.offset - self.began)):
            self.kept.pop().lost = True
            self.offset -= 1
        self.ended[self.epoch] = (self.offset, last)
        self.begin_epoch()

    @property
    def top(self) -> Position:
        return Position(self.epoch, self.offset)

    def page(self, after: Position | None, last: int) -> Page:
        start, complete = 0, False
        if after is None:
            start, complete = max(0, self.offset - last), True
        elif after.epoch == self.epoch:
            start, complete = after.offset, after.offset <= self.offset
        elif after.epoch in self.ended:
            end, lost = self.ended[after.epoch]
            start, complete = min(after.offset, end), after.offset >= lost or end == lost
        found = [one for one in self.kept if one.offset > start]
        first = found[0].offset - 1 if found else self.offset
        if after is not None and first > start:
            complete = False
        return Page(
            [Publication("lobby", one.text, offset=one.offset, epoch=one.epoch) for one in found], self.top, complete
        )


class Torn:
    """One node's view of the world: requests are answered and publications arrive when the test says so."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.deliveries: deque[Stored] = deque()
        self.requests: deque[tuple[Callable[[], None], Callable[[], None]]] = deque()
        self.unsent: deque[str] = deque()
        self.followed = False
        world.nodes.append(self)

    def start(self, follower: Follower) -> None:
        self.follower = follower

    def page(self, *arguments: Any) -> None: ...
    def remove(self, *arguments: Any) -> None: ...
    def publish(self, publication: Publication, settings: Channel, done: Any = None) -> None:
        self.unsent.append(publication.message)
        self.send()

    def send(self) -> None:
        while self.unsent and not self.world.away:
            self.world.store(self.unsent.popleft())

    def follow(self, channel: str, settings: Channel) -> None:
        self.followed = True
        self.look()

    def look(self) -> None:
        self.requests.append((lambda: self.follower.told("lobby", self.world.top), lambda: self.look()))

    def unfollow(self, channel: str) -> None:
        self.followed = False

    def read(
        self, channel: str, settings: Channel, after: Position | None, last: int, done: Callable[[Page | None], None]
    ) -> None:
        self.requests.append((lambda: done(self.world.page(after, last)), lambda: done(None)))

    def answer(self, *, fails: bool = False) -> None:
        if self.requests and not self.world.away:
            self.requests.popleft()[fails]()

    def deliver(self) -> None:
        if self.deliveries:
            one = self.deliveries.popleft()
            self.follower.arrived(one.publication)


class Person:
    """A client through all its connections.

    Attributes:
        seen: what it has received: publications, gaps and positions, in order.
    """

    def __init__(self) -> None:
        self.harness: Harness | None = None
        self.client: Client | None = None
        self.seen: list[dict[str, Any]] = []

    def connect(self, harness: Harness, *, returns: bool) -> None:
        if self.client is not None:
            return
        query = ""
        if returns and self.seen:
            query = f"?since={self.seen[-1]['epoch']}:{self.seen[-1]['offset']}"
        else:
            self.seen.clear()
        self.harness = harness
        self.client = harness.connect(f"/p{query}", settle=False)

    def leave(self) -> None:
        if self.client is not None and self.harness is not None:
            self.read()
            self.harness.leave(self.client)
            self.client = None

    def read(self) -> None:
        if self.client is not None and self.harness is not None:
            self.seen += [json.loads(text) for text in self.harness.sent(self.client)]


class Play:
    """Two nodes and some people."""

    def __init__(self, folder: Path) -> None:
        self.world = World()
        self.torn = [Torn(self.world) for _ in range(2)]
        self.nodes = [build(CONF, folder, history=torn) for torn in self.torn]
        self.people = [Person() for _ in range(3)]
        self.count = 0

    def do(self, what: str, number: int, person: int) -> None:
        node, torn, someone = self.nodes[number % 2], self.torn[number % 2], self.people[person]
        match what:
            case "publish":
                for _ in range(1 + number):
                    self.count += 1
                    node.channels.publish("lobby", f"m{self.count}")
            case "deliver":
                torn.deliver()
            case "lose":
                if torn.deliveries:
                    torn.deliveries.popleft()
            case "cut":
                # The subscription is lost. It is noticed, and the position is asked for when it is there again.
                torn.deliveries.clear()
                torn.look()
            case "answer":
                torn.answer()
            case "fail":
                torn.answer(fails=True)
            case "look":
                torn.look()
            case "join":
                someone.connect(node, returns=False)
            case "return":
                someone.connect(node, returns=True)
            case "leave":
                someone.leave()
            case "away":
                self.world.away = True
            case "back":
                self.come_back()
            case "empty":
                self.world.empty()
            case "fall back":
                self.world.fall_back(number)
        for one in self.nodes:
            one.turn()

    def come_back(self) -> None:
        self.world.away = False
        for torn in self.torn:
            torn.send()

    def finish(self) -> None:
        """Redis is back, and everything that can happen happens."""
        self.come_back()
        for _ in range(50):
            for torn, node in zip(self.torn, self.nodes, strict=True):
                while torn.deliveries:
                    torn.deliver()
                torn.look()
                while torn.requests:
                    torn.answer()
                node.clock.advance(1.0)
                node.settle()
        for person in self.people:
            person.read()

    def judge(self, person: Person) -> None:
        ever = self.world.ever
        index = {(one.epoch, one.offset): number for number, one in enumerate(ever)}
        last: int | None = None  # of what was received before
        excused = True
        for one in person.seen:
            if one.get("type") == "gap":
                excused = True
                continue
            if one.get("type") == "position":
                continue
            here = index[one["epoch"], one["offset"]]
            assert one["message"] == ever[here].text
            if last is not None:
                assert here > last, "a duplicate, or in the wrong order"
                assert excused or here == last + 1, f"a silent hole: {ever[last + 1 : here]}"
            last, excused = here, False
        if person.client is not None and person.seen:
            # Whatever is left after the last thing that it received, it has received.
            end = person.seen[-1]
            rest = ever[last + 1 :] if last is not None else ever
            missing = [one for one in rest if not one.lost and one in self.world.kept]
            if end.get("type") is None:
                assert missing == [], "the newest publications are missing"
            else:
                assert [one for one in missing if one.offset > end["offset"]] == []


kinds = st.sampled_from(
    ["publish"] * 5
    + ["deliver"] * 4
    + ["answer"] * 4
    + ["lose", "cut", "fail", "look", "join", "return", "return", "leave", "away", "back", "empty", "fall back"]
)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(kinds, st.integers(0, 3), st.integers(0, 2)), max_size=60))
@example(
    [("join", 0, 0), ("answer", 0, 0), ("publish", 0, 0), ("fall back", 0, 0), ("fall back", 1, 0), ("publish", 0, 0)]
)
def test_no_duplicate_no_wrong_order_no_silent_hole(steps: list[tuple[str, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        play = Play(Path(folder))
        for what, number, person in steps:
            play.do(what, number, person)
        play.finish()
        for one in play.people:
            play.judge(one)
