"""Presence in Redis: a hash for each channel, and one hash in which nodes say that they are alive.

docs/redis.md describes the keys. A node writes its own clients only. Whoever asks leaves out the clients of nodes that
have not said for a while that they are alive, and removes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gevent
import msgspec

from fws.base.metrics import Metrics
from fws.base.timers import Timers
from fws.brokers.items import Item, Session
from fws.brokers.redis import RedisBroker
from fws.config import Channel
from fws.presence import scripts
from fws.presence.base import Change, Present, Watcher
from fws.redis.resp import command, sha

# Seconds between two signs of life of a node, and the age of the last one from which on it counts as dead.
ALIVE = 3.0
DEAD = 8.0
# Seconds that a node has, which this one does not know yet, to say that it is alive.
UNKNOWN = 2.0
# Seconds after Redis has returned in which no node counts as dead, because the others return as well.
RETURNING = 4.5
# Seconds after which a channel is asked for again, so that what nobody was told about is noticed, and for which Redis
# keeps a channel that no node renews.
RENEW = 20.0
KEPT = 90.0
STEP = 0.5
MOST = 500

_SHA_CHANGE, _SHA_WHO, _SHA_LIVE = map(sha, scripts.ALL)


class _Value(Present, frozen=True, omit_defaults=True, kw_only=True):
    """What Redis has about a client."""

    node: str


class Signal(msgspec.Struct):
    """What nodes tell each other about a channel. Unknown fields are ignored."""

    joined: list[_Value] = []
    left: list[str] = []
    returned: list[tuple[str, _Value]] = []


_decode_value = msgspec.json.Decoder(_Value).decode
_decode_values = msgspec.json.Decoder(list[_Value]).decode
_decode_signal = msgspec.json.Decoder(Signal).decode
_encode = msgspec.json.Encoder().encode


class _Item(Item):
    __slots__ = ("_channel", "_presence")

    repeatable = True
    scripted = True

    def __init__(self, presence: RedisPresence, channel: str, size: int) -> None:
        super().__init__(presence.broker.name_of(channel), size)
        self._presence = presence
        self._channel = channel


class _Change(_Item):
    """A change of one client. Several of one channel share a call."""

    __slots__ = ("_words",)

    joins = True

    def __init__(self, presence: RedisPresence, channel: str, *words: bytes) -> None:
        super().__init__(presence, channel, sum(map(len, words)))
        self._words = words

    @classmethod
    def command(cls, items: Sequence[_Change], session: Session) -> bytes:
        first = items[0]
        keys = first._presence.keys(first._channel)
        words = [word for item in items for word in item._words]
        kept = b"%d" % (KEPT * 1000)
        return command(b"EVALSHA", _SHA_CHANGE, b"2", *keys, first.name, session.publish, kept, *words)

    def lost(self) -> None:
        self._presence.doubt(self._channel)


class _Who(_Item):
    """Asks who is present."""

    __slots__ = ("_done",)

    def __init__(self, presence: RedisPresence, channel: str, done: Callable[[Sequence[_Value] | None], None]) -> None:
        super().__init__(presence, channel, 32 * 1024)
        self._done = done

    @classmethod
    def command(cls, items: Sequence[_Who], session: Session) -> bytes:
        [item] = items
        kept = b"%d" % (KEPT * 1000)
        return command(b"EVALSHA", _SHA_WHO, b"1", item._presence.keys(item._channel)[0], kept)

    def answered(self, reply: Any) -> None:
        self._done(self._presence.values_of(reply))

    def lost(self) -> None:
        self._done(None)


class _Live(Item):
    """Says that this node is alive, and asks which others are."""

    __slots__ = ("_presence",)

    repeatable = True
    scripted = True

    def __init__(self, presence: RedisPresence) -> None:
        super().__init__(presence.nodes_key, 100)
        self._presence = presence

    @classmethod
    def command(cls, items: Sequence[_Live], session: Session) -> bytes:
        [item] = items
        node = item._presence.broker.node.encode()
        return command(b"EVALSHA", _SHA_LIVE, b"1", item.name, node, b"%d" % (DEAD * 1000))

    def answered(self, reply: Any) -> None:
        known, *nodes = reply
        self._presence.lives({node.decode("utf-8", "replace") for node in nodes}, known=known == 1)

    def lost(self) -> None:
        self._presence.lives(None, known=True)


class RedisPresence:
    """Keeps who is present in Redis.

    Args:
        broker: carries the commands. It must have `scripts.ALL`.
        clock: monotonic seconds.
    """

    def __init__(self, broker: RedisBroker, clock: Callable[[], float], timers: Timers, metrics: Metrics) -> None:
        self.broker = broker
        self.nodes_key = broker.name_of("presence:nodes")
        self._clock = clock
        self._timers = timers
        self._metrics = metrics
        # This node's clients, by channel and client, with what Redis should have.
        self._mine: dict[str, dict[str, bytes]] = {}
        self._settings: dict[str, Channel] = {}
        self._lingering: dict[tuple[str, str], bytes] = {}
        self._watched: set[str] = set()
        self._alive: set[str] = set()
        # Nodes that are not known to be alive, with the time since when.
        self._suspected: dict[str, float] = {}
        self._asking = False
        self._doubted: set[str] = set()
        # Channels that could not be asked for.
        self._unasked: set[str] = set()
        # When Redis last answered which nodes are alive, and when it was last reached again.
        self._heard = self._returned = 0.0
        broker.observe(self)

    def start(self, watcher: Watcher) -> None:
        self._watcher = watcher
        gevent.spawn(self._renew)

    def keys(self, channel: str) -> tuple[bytes, bytes]:
        """The keys of those who are present and of those who linger."""
        return self.broker.key_of(b"present", channel), self.broker.key_of(b"lingering", channel)

    def join(self, channel: str, present: Present, settings: Channel) -> None:
        value = _encode(_Value(present.client, present.user, present.info, present.profile, node=self.broker.node))
        mine = self._mine.setdefault(channel, {})
        if mine.get(present.client) == value and (channel, present.client) not in self._lingering:
            return
        mine[present.client] = value
        self._lingering.pop((channel, present.client), None)
        self._change(channel, b"+", present.client, present.user.encode("utf-8", "replace"), value)

    def leave(self, channel: str, client: str, settings: Channel) -> None:
        value = self._mine.get(channel, {}).get(client)
        if value is None:
            return
        user = _decode_value(value).user.encode("utf-8", "replace")
        if user and settings.linger:
            self._lingering[channel, client] = user
            self._change(channel, b"?", client, user, b"")
            self._timers.at(self._clock() + settings.linger, partial(self._end, channel, client))
        else:
            self._forget(channel, client)
            self._change(channel, b"-", client, user, b"")

    def _end(self, channel: str, client: str) -> None:
        """A client has lingered for long enough, unless it has returned as itself."""
        user = self._lingering.pop((channel, client), None)
        if user is not None:
            self._forget(channel, client)
            self._change(channel, b"!", client, user, b"")

    def _forget(self, channel: str, client: str) -> None:
        mine = self._mine.get(channel, {})
        mine.pop(client, None)
        if not mine:
            self._mine.pop(channel, None)

    def _change(self, channel: str, what: bytes, client: str, user: bytes, value: bytes) -> None:
        self.broker.send(_Change(self, channel, what, client.encode(), user, value))

    def watch(self, channel: str, settings: Channel) -> None:
        self._watched.add(channel)
        self._ask(channel)

    def unwatch(self, channel: str) -> None:
        self._watched.discard(channel)

    def here(self) -> list[int]:
        return [len(clients) for clients in self._mine.values()]

    def who(self, channel: str, done: Callable[[Sequence[Present] | None], None]) -> None:
        if not self.broker.available:
            # It would take the place of publications in the buffer.
            done(None)
        else:
            self.broker.send(_Who(self, channel, partial(self._answer, channel, done)))

    def _answer(
        self, channel: str, done: Callable[[Sequence[Present] | None], None], values: Sequence[_Value] | None
    ) -> None:
        if values is None:
            done(None)
            return
        dead = {node for node in {value.node for value in values} if not self._lives(node)}
        for value in values if dead else ():
            if value.node in dead:
                self._change(channel, b"-", value.client, b"", b"")
        me, mine = self.broker.node, self._mine.get(channel, {})
        if mine and len(mine) > sum(value.node == me for value in values):
            # Redis was emptied, or has lost what it was told.
            self.doubt(channel)
        # This node knows its own clients. About one that lingers Redis decides: its user may have returned elsewhere.
        own = {client: value for client, value in mine.items() if (channel, client) not in self._lingering}
        others = [value for value in values if value.node not in dead and value.client not in own]
        others = [value for value in others if value.node != me or (channel, value.client) in self._lingering]
        found = [*others, *map(_decode_value, own.values())]
        done([Present(value.client, value.user, value.info, value.profile) for value in found])

    def _lives(self, node: str) -> bool:
        """Whether a node may be alive. After an outage, and about a new node, nobody knows for a while."""
        now = self._clock()
        if node == self.broker.node or node in self._alive or now < self._returned + RETURNING:
            return True
        since = self._suspected.setdefault(node, now)
        return not since + UNKNOWN < self._heard > now - 2 * ALIVE

    def values_of(self, reply: Any) -> list[_Value]:
        """The clients in an answer. Values that are not those of a node are left out."""
        if not reply:
            return []
        try:
            return _decode_values(b"[%b]" % reply.replace(b"\n", b","))
        except msgspec.DecodeError:
            found = []
            for line in reply.split(b"\n"):
                try:
                    found.append(_decode_value(line))
                except msgspec.DecodeError:
                    self._metrics.count("redis_malformed")
            return found

    def doubt(self, channel: str) -> None:
        """A change may not have reached Redis."""
        self._doubted.add(channel)

    def lives(self, alive: set[str] | None, *, known: bool) -> None:
        """These nodes are alive.

        Args:
            known: whether Redis has heard from this node before. If it had, and has forgotten it, Redis was emptied.
        """
        self._asking = False
        if alive is None:
            return
        if not known:
            self._doubted |= self._mine.keys()
        now = self._clock()
        if now > self._heard + 2 * ALIVE:
            # This node has not heard from Redis for a while, and the others may not have either.
            self._returned = now
            self._suspected.clear()
        self._heard = now
        gone = self._alive - alive
        self._alive = alive
        # Whatever Redis names as a node is not remembered for ever.
        recent = ((node, since) for node, since in self._suspected.items() if since > now - 60)
        self._suspected = {node: since for node, since in recent if node not in alive}
        # What has been alive is no new node.
        self._suspected |= dict.fromkeys(gone, now - 2 * UNKNOWN)
        if gone and now >= self._returned + RETURNING:
            for channel in tuple(self._watched):
                self._ask(channel)

    # As an observer of the broker.

    def confirmed(self, channel: str) -> None:
        """Changes may have been missed before Redis subscribed this node."""
        if channel in self._watched:
            self._ask(channel)

    def signalled(self, channel: str, signal: bytes) -> None:
        if channel not in self._watched:
            return
        try:
            found = _decode_signal(signal)
        except msgspec.DecodeError:
            self._metrics.count("redis_malformed")
            return
        for before, value in found.returned:
            self._watcher.changed(channel, Change((self._present(value),), (before,), quiet=True))
        if found.joined or found.left:
            self._watcher.changed(channel, Change([self._present(value) for value in found.joined], found.left))

    @staticmethod
    def _present(value: _Value) -> Present:
        return Present(value.client, value.user, value.info, value.profile)

    # Renewing.

    def _ask(self, channel: str) -> None:
        self.who(channel, partial(self._tell, channel))

    def _tell(self, channel: str, present: Sequence[Present] | None) -> None:
        if present is None:
            self._unasked.add(channel)
        elif channel in self._watched:
            self._watcher.renewed(channel, present)

    def _repair(self, channel: str) -> None:
        """Write this node's clients again, and remove those that it does not have any more."""
        for client, value in self._mine.get(channel, {}).items():
            if (channel, client) not in self._lingering:
                self._change(channel, b"+", client, _decode_value(value).user.encode("utf-8", "replace"), value)
        self.broker.send(_Who(self, channel, partial(self._remove_strangers, channel)))

    def _remove_strangers(self, channel: str, values: Sequence[_Value] | None) -> None:
        mine = self._mine.get(channel, {})
        for value in values or ():
            if value.node == self.broker.node and value.client not in mine:
                self._change(channel, b"-", value.client, b"", b"")
        if values is not None and channel in self._watched:
            self._answer(channel, partial(self._tell, channel), values)

    def _renew(self) -> None:
        """Say that this node is alive, and ask for each channel again and again."""
        was, next_sign = True, 0.0
        turns = round(RENEW / STEP)
        waiting: list[str] = []
        while True:
            gevent.sleep(STEP)
            available, now = self.broker.available, self._clock()
            if available and not was:
                self._returned = now
                self._suspected.clear()
                self._doubted |= self._mine.keys()
                next_sign = 0.0
                # When every node has returned, what others have written is complete.
                self._timers.at(now + RETURNING, self._ask_all)
            was = available
            if not available or not (self._mine or self._watched):
                continue
            if now >= next_sign and not self._asking:
                returning = now < self._returned + RETURNING
                next_sign, self._asking = now + (STEP if returning else ALIVE), True
                self.broker.send(_Live(self))
            unasked, self._unasked = self._unasked & self._watched, set()
            for channel in unasked:
                self._ask(channel)
            doubted, self._doubted = list(self._doubted), set()
            self._doubted |= set(doubted[MOST:])
            for channel in doubted[:MOST]:
                self._repair(channel)
            if not waiting:
                waiting = list(self._mine.keys() | self._watched)
                some = min(MOST, -(-len(waiting) // turns))
            for channel in waiting[:some]:
                self._ask(channel)
            del waiting[:some]

    def _ask_all(self) -> None:
        for channel in tuple(self._watched):
            self._ask(channel)
