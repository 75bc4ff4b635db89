"""A Redis Cluster with sharded pub/sub: each channel is at the node that serves its slot, and is followed when it
moves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import gevent
from gevent.event import Event

from fws.brokers.buffer import Buffer, drop
from fws.brokers.carrier import Confirmed, Settings, Take
from fws.brokers.items import Item
from fws.brokers.relay import Relay
from fws.brokers.sender import Sender
from fws.brokers.subscriptions import Subscriptions
from fws.redis.backoff import Backoff
from fws.redis.connector import Connector, ConnectorError, Stream, slot_of

SLOTS = 16384
# Seconds between two queries of the slots: if all is well, if it is not, and the minimum.
CALM = 5.0
TROUBLED = 0.5
LEAST = 0.1

Place = tuple[str, int]


class _Shard(NamedTuple):
    """One master of the Cluster."""

    subscriptions: Subscriptions
    relay: Relay
    sender: Sender


class Cluster:
    """A relay and a sender for each master, and one greenlet that follows the slots."""

    def __init__(self, connector: Connector, settings: Settings) -> None:
        self._connector = connector
        self._settings = settings
        self._wanted: dict[bytes, None] = {settings.everyone: None}
        self._known: list[Place] = list(connector.address.hosts)
        self._places: list[Place | None] = [None] * SLOTS
        self._shards: dict[Place, _Shard] = {}
        # Publications for slots without a known node.
        self._homeless = Buffer(settings.buffer)
        self._changed = Event()
        self._follower: gevent.Greenlet | None = None
        self._ear: Relay | None = None

    def start(self, take: Take, crowded: Callable[[], bool], confirmed: Confirmed) -> None:
        self._confirmed = confirmed
        self._take = take
        self._crowded = crowded
        settings = self._settings
        settings.health.expect(self)
        self._follower = gevent.spawn(self._follow)
        if settings.names or settings.patterns:
            # Ordinary channels can be received from any node.
            nothing = Subscriptions(settings.clock)
            self._ear = Relay(self._any, nothing, settings, take, crowded, _nobody, settings.names, settings.patterns)
            self._ear.start()

    @property
    def waiting(self) -> int:
        return self._homeless.size + sum(shard.sender.waiting for shard in self._shards.values())

    def stop(self, timeout: float) -> list[Item]:
        if self._follower is not None:
            self._follower.kill(block=False)
        if self._ear is not None:
            self._ear.stop()
        until = self._settings.clock() + timeout
        for shard in self._shards.values():
            shard.relay.stop()
            shard.sender.flush(max(0.0, until - self._settings.clock()))
        left = [item for shard in self._shards.values() for item in shard.sender.stop()]
        return left + self._homeless.take(self._homeless.size)

    def send(self, item: Item) -> None:
        shard = self._shard(item.name)
        if shard is not None and not self._homeless:
            shard.sender.send(item)
        else:
            self._drop(self._homeless.append(item))

    def _drop(self, items: Sequence[Item]) -> None:
        if items:
            self._settings.metrics.count("redis_dropped", drop(items))

    def add(self, name: bytes) -> None:
        self._wanted[name] = None
        if (shard := self._shard(name)) is not None:
            shard.subscriptions.add(name)
            shard.relay.changed()

    def discard(self, name: bytes) -> None:
        self._wanted.pop(name, None)
        if (shard := self._shard(name)) is not None:
            shard.subscriptions.discard(name)
            shard.relay.changed()

    def add_pattern(self, pattern: bytes) -> None:
        """Sharded channels cannot be subscribed by pattern. A configuration that wants it is refused."""

    def discard_pattern(self, pattern: bytes) -> None:
        """As `add_pattern`."""

    def _shard(self, name: bytes) -> _Shard | None:
        place = self._places[slot_of(name)]
        return None if place is None else self._shards.get(place)

    # Following.

    def _follow(self) -> None:
        backoff = Backoff()
        state = self._settings.health
        while True:
            self._changed.clear()
            try:
                self._settle(self._find())
            except ConnectorError as error:
                state.down(self, str(error))
                gevent.sleep(max(LEAST, backoff.next()))
                continue
            backoff.reset()
            state.up(self)
            gevent.sleep(LEAST)
            self._changed.wait(CALM if state.reason is None else TROUBLED)

    def _find(self) -> list[Place | None]:
        """The node of each slot, according to the first node that answers and is in the Cluster."""
        why = ConnectorError("no node answers")
        for host, port in tuple(self._known):
            try:
                stream = self._connector.stream(host, port)
                try:
                    ranges = stream.ask(b"CLUSTER", b"SLOTS")
                finally:
                    stream.close()
            except ConnectorError as error:
                why = error
                continue
            if places := _places(ranges, host):
                # It is asked first next time, and the nodes that it names before those of the address.
                named = (place for place in places if place)
                self._known = list(dict.fromkeys([(host, port), *named, *self._connector.address.hosts]))
                return places
            why = ConnectorError("its nodes do not form a Cluster yet")
        raise why

    def _settle(self, places: list[Place | None]) -> None:
        masters = dict.fromkeys(place for place in places if place is not None)
        for place in masters:
            if place not in self._shards:
                self._shards[place] = self._begin(place)
        gone = [place for place in self._shards if place not in masters]
        self._places = places
        for place in gone:
            shard = self._shards.pop(place)
            shard.relay.stop()
            self._drop(self._homeless.put_back(shard.sender.stop()))
        for name in self._wanted:
            serving = self._shard(name)
            for shard in self._shards.values():
                if shard is serving:
                    shard.subscriptions.add(name)
                else:
                    shard.subscriptions.forget(name)
        for shard in self._shards.values():
            shard.relay.changed()
        for item in self._homeless.take(self._homeless.size):
            self.send(item)

    def _begin(self, place: Place) -> _Shard:
        settings = self._settings
        connect = partial(self._connector.stream, *place)
        subscriptions = Subscriptions(settings.clock)
        relay = Relay(
            connect,
            subscriptions,
            settings,
            self._take,
            self._crowded,
            self._confirmed,
            sharded=True,
            moved=self._moved,
        )
        sender = Sender(connect, b"SPUBLISH", settings, self._refused)
        relay.start()
        sender.start()
        return _Shard(subscriptions, relay, sender)

    def _moved(self) -> None:
        """A relay's node does not serve a channel any more."""
        self._changed.set()

    def _refused(self, items: list[Item]) -> None:
        """A sender's node does not serve the channels of these items, so that they were not executed."""
        for item in items:
            item.delayed()
        self._drop(self._homeless.put_back(items))
        self._changed.set()

    def _any(self) -> Stream:
        why = ConnectorError("no node answers")
        for host, port in tuple(self._known):
            try:
                return self._connector.stream(host, port)
            except ConnectorError as error:
                why = error
        raise why


def _nobody(channel: bytes) -> None:
    """Nobody needs to know that a channel of another application is subscribed."""


def _places(ranges: Any, asked: str) -> list[Place | None]:
    """The master of each slot in a reply of CLUSTER SLOTS; empty if no slot has one."""
    places: list[Place | None] = [None] * SLOTS
    try:
        for first, last, (host, port, *_), *_ in ranges:
            # A node that does not know its own address has the address at which it was asked.
            place = (host.decode() if host else asked, port)
            places[first : last + 1] = [place] * (last + 1 - first)
    except (TypeError, ValueError, AttributeError):
        raise ConnectorError("its nodes do not say which node serves which slot") from None
    return places if any(places) else []
