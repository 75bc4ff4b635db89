"""Nodes in one process: a broker that carries envelopes from hub to hub, and a history that they share, as Redis would.

What passes from node to node is encoded and decoded, so that a test sees what another node would see.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from fws.base.metrics import Metrics
from fws.base.timers import Timers
from fws.brokers.base import Deliver
from fws.brokers.envelope import decode, encode
from fws.brokers.pattern import matcher
from fws.config import Channel
from fws.config.channels import ChannelPattern
from fws.histories.base import Follower, Page, Span
from fws.histories.memory import MemoryHistory
from fws.nodes.answers import served
from fws.nodes.base import PATIENCE, Answer
from fws.nodes.messages import LARGEST, packed
from fws.pipeline.publication import Position, Publication
from fws.presence.base import Change, Present, Watcher
from fws.presence.memory import MemoryPresence

# The bytes of all histories.
MEMORY = 64 * 1024**2


class Bus:
    """Carries payloads by channel to all nodes when `turn` is called, and keeps what channels keep.

    Publications of channels with history come back as from Redis: in one order, and to the publisher's node as to all
    others. A single node has them at once, as without Redis.
    """

    def __init__(self, clock: Callable[[], float], timers: Timers) -> None:
        self.nodes: list[BusBroker] = []
        self.histories: list[BusHistory] = []
        self.ends: list[BusNodes] = []
        self.waiting: list[tuple[str | None, bytes]] = []
        self.numbered: list[Publication] = []
        self.kept = MemoryHistory(clock, MEMORY, Metrics())
        self.kept.start(self)
        # Counts payloads. One of another program reaches all nodes, and the first that keeps it claims its number.
        self._count = 0
        self.claimed: set[str] = set()
        self.presence = MemoryPresence(clock, timers)
        self.watchers = Watchers()
        self.presence.start(self.watchers)

    def turn(self) -> int:
        """Carry all waiting payloads. Returns their number."""
        waiting, self.waiting = self.waiting, []
        for channel, payload in waiting:
            self._count += 1
            for node in self.nodes:
                node.take(channel, payload, f"{self._count}")
        numbered, self.numbered = self.numbered, []
        for publication in numbered:
            self._hand_over(publication)
        return len(waiting) + len(numbered)

    def _hand_over(self, publication: Publication) -> None:
        for history in self.histories:
            history.take(publication)

    # As the follower of the shared history.

    def arrived(self, publication: Publication) -> None:
        if len(self.nodes) > 1:
            self.numbered.append(publication)
        else:
            self._hand_over(publication)

    def told(self, channel: str, top: Position) -> None:
        """A node is told when it asks."""

    def missed(self, channel: str) -> None:
        """Nothing is lost here."""

    def weigh(self, change: int) -> None:
        """Nothing waits here."""


class BusBroker:
    """One node's broker.

    Args:
        subscribe: channels of other applications, and patterns for their names.
    """

    def __init__(self, bus: Bus, subscribe: Sequence[str] = ()) -> None:
        self._bus = bus
        self._name = f"node{len(bus.nodes)}"
        self._further = [matcher(name.encode()) for name in subscribe]
        self.channels: set[str | None] = {None}
        self._feeds: dict[str, ChannelPattern] = {}
        bus.nodes.append(self)

    def start(self, deliver: Deliver, crowded: Callable[[], bool]) -> None:
        self._deliver = deliver

    def stop(self, timeout: float) -> None:
        pass

    def publish(self, publication: Publication) -> None:
        payload = encode(publication, self._name)
        self._deliver(publication)
        self._bus.waiting.append((publication.channel, payload))

    def take(self, channel: str | None, payload: bytes, claim: str = "") -> None:
        name = channel or ""
        wanted = (
            channel in self.channels or "*" in name or any(f.expression.fullmatch(name) for f in self._feeds.values())
        )
        wanted = wanted or any(match((channel or "").encode()) for match in self._further)
        if wanted and (publication := decode(channel, payload, self._name)) is not None:
            self._deliver(publication.replace(epoch=claim) if publication.origin == "outside" else publication)

    def feed(self, pattern: ChannelPattern, rule_of: Callable[[str], str | None]) -> None:
        self._feeds[pattern.text] = pattern

    def unfeed(self, pattern: ChannelPattern) -> None:
        del self._feeds[pattern.text]

    def subscribe(self, channel: str) -> None:
        self.channels.add(channel)

    def unsubscribe(self, channel: str) -> None:
        self.channels.discard(channel)

    def health(self) -> str | None:
        return None


class BusHistory:
    """One node's view of the shared history."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._followed: set[str] = set()
        bus.histories.append(self)

    def start(self, follower: Follower) -> None:
        self._follower = follower

    def publish(
        self,
        publication: Publication,
        settings: Channel,
        done: Callable[[Position | None], None] | None = None,
    ) -> None:
        if publication.origin == "outside":
            if publication.epoch in self._bus.claimed:
                return
            self._bus.claimed.add(publication.epoch)
        self._bus.kept.publish(publication, settings, done)

    def take(self, publication: Publication) -> None:
        self._follower.arrived(publication)

    def follow(self, channel: str, settings: Channel) -> None:
        self._followed.add(channel)
        self._bus.kept.follow(channel, settings)
        self._bus.kept.read(channel, settings, None, 0, lambda page: self._told(channel, page))

    def _told(self, channel: str, page: Page | None) -> None:
        if page is not None:
            self._follower.told(channel, page.top)

    def unfollow(self, channel: str) -> None:
        self._followed.discard(channel)

    def read(
        self,
        channel: str,
        settings: Channel,
        after: Position | None,
        last: int,
        done: Callable[[Page | None], None],
    ) -> None:
        self._bus.kept.read(channel, settings, after, last, done)

    def page(self, channel: str, settings: Channel, span: Span, done: Callable[[Page | None], None]) -> None:
        self._bus.kept.page(channel, settings, span, done)

    def remove(self, channel: str, settings: Channel, done: Callable[[bool], None]) -> None:
        self._bus.kept.remove(channel, settings, done)


class Watchers:
    """Tells every node what changes in the channels that it watches."""

    def __init__(self) -> None:
        self.watching: dict[str, list[Watcher]] = {}

    def changed(self, channel: str, change: Change) -> None:
        for watcher in self.watching.get(channel, ()):
            watcher.changed(channel, change)

    def renewed(self, channel: str, present: Sequence[Present]) -> None:
        for watcher in self.watching.get(channel, ()):
            watcher.renewed(channel, present)


class BusPresence:
    """One node's view of the shared presence."""

    def __init__(self, bus: Bus) -> None:
        self._shared = bus.presence
        self._watching = bus.watchers.watching

    def start(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def join(self, channel: str, present: Present, settings: Channel) -> None:
        self._shared.join(channel, present, settings)

    def leave(self, channel: str, client: str, settings: Channel) -> None:
        self._shared.leave(channel, client, settings)

    def watch(self, channel: str, settings: Channel) -> None:
        self._watching.setdefault(channel, []).append(self._watcher)
        self._shared.watch(channel, settings)

    def unwatch(self, channel: str) -> None:
        self._watching[channel].remove(self._watcher)
        if not self._watching[channel]:
            del self._watching[channel]
            self._shared.unwatch(channel)

    def who(self, channel: str, done: Callable[[Sequence[Present] | None], None]) -> None:
        self._shared.who(channel, done)


class BusNodes:
    """One node's view of the others, which are asked at once.

    Attributes:
        away: why other nodes cannot be reached; None if they can. A test sets it.
    """

    def __init__(self, bus: Bus) -> None:
        self.id = ""
        self.largest = LARGEST
        self.away: str | None = None
        self._bus = bus

    def start(self, answer: Answer) -> None:
        self.id = secrets.token_urlsafe(12)
        self._answer = answer
        self._bus.ends.append(self)

    def ask(self, request: Mapping[str, Any], *, timeout: float = PATIENCE) -> list[Any]:
        content = packed(request, self.largest)
        others = [] if self.away else [end for end in self._bus.ends if end is not self and not end.away]
        answers = [self._answer(request), *(end.serve(content, self.id) for end in others)]
        return [answer for answer in answers if answer is not None]

    def tell(self, node: str, request: Mapping[str, Any], done: Callable[[bool], None]) -> None:
        content = packed(request, self.largest)
        for end in self._bus.ends:
            if end.id == node and (end is self or not (self.away or end.away)):
                end.serve(content, self.id)
                done(True)
                return
        done(False)

    def serve(self, content: msgspec.Raw, node: str) -> Any:
        """Serve a request. It and its answer pass as JSON."""
        answer = served(self._packed_answer, msgspec.json.decode(content), node, Metrics())
        return None if answer is None else msgspec.json.decode(answer)

    def _packed_answer(self, request: Mapping[str, Any]) -> Any:
        answer = self._answer(request)
        return None if answer is None else packed(answer, self.largest)

    def health(self) -> str | None:
        return self.away
