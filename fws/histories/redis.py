"""The history in Redis: a stream and a position for each channel, which all nodes share.

A publication gets its offset in Redis and comes back to its own node as to all others, so that members see one order
everywhere. While Redis is away it waits, and nobody receives it.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import count

import gevent
import msgspec

from fws.base.metrics import Metrics
from fws.brokers.envelope import encode_rest
from fws.brokers.items import Session
from fws.brokers.redis import RedisBroker
from fws.config import Channel
from fws.histories.base import Follower, Page, Span
from fws.histories.calls import FIXED, Look, Publish, Read, Remove, Where
from fws.pipeline.publication import Position, Publication
from fws.redis.resp import joined

# Seconds between two looks at the position of a channel. A loss that nobody has noticed is found after this time.
LOOK = 20.0
# Seconds between two steps of the look, and the most channels in one step.
STEP = 0.5
MOST = 500
# A position is kept longer than the publications, so that a client that returns late learns whether it missed anything.
AFTERLIFE = 86400.0
# The channels whose last position is remembered after this node has published, to notice that Redis has lost it.
REMEMBERED = 1000
_NOWHERE = Position("", 0)


class _Followed:
    """A channel with members here.

    Attributes:
        position: the newest that is known; where Redis was before it lost data, if it did.
        former: the last position in the epoch before.
        sync: the offset and mark of the last publication or mark that has arrived; None if something may have been
            missed.
        count: messages of other programs since then.
        looking: whether an answer about its position is awaited.
    """

    __slots__ = ("count", "former", "looking", "position", "settings", "sync")

    def __init__(self, settings: Channel) -> None:
        self.settings = settings
        self.position = _NOWHERE
        self.former = _NOWHERE
        self.sync: tuple[int, int] | None = None
        self.count = 0
        self.looking = False


class RedisHistory:
    """Keeps publications in Redis.

    Args:
        broker: carries the commands and receives publications. It must have `scripts.ALL`.
    """

    def __init__(self, broker: RedisBroker, metrics: Metrics) -> None:
        self.broker = broker
        self.metrics = metrics
        self._numbers = count(1)
        self._seed = secrets.token_urlsafe(4).encode()
        self._epochs = count(1)
        self._fixed: dict[tuple[bytes, str], tuple[Channel, Session, bytes]] = {}
        self._followed: dict[str, _Followed] = {}
        self._published: OrderedDict[str, Position] = OrderedDict()
        broker.heard = self.heard
        broker.observe(self)

    def start(self, follower: Follower) -> None:
        self.follower = follower
        gevent.spawn(self._look)

    def publish(
        self,
        publication: Publication,
        settings: Channel,
        done: Callable[[Position | None], None] | None = None,
    ) -> None:
        if publication.origin == "outside" and not publication.epoch:
            # It arrived for a pattern. A node that follows the channel stores it.
            self.metrics.count("redis_unclaimed")
            return
        envelope = encode_rest(publication, self.broker.node)
        if len(envelope) > self.broker.largest:
            self.metrics.count("redis_oversized")
            if done is not None:
                done(None)
        else:
            self.broker.send(Publish(self, publication, settings, envelope, done))

    def follow(self, channel: str, settings: Channel) -> None:
        self._followed[channel] = _Followed(settings)
        # Now, so that what this node publishes afterwards counts as later. Redis may not have subscribed it yet; once
        # it has, the position is asked for again, and what was published between the two is read.
        self._place(channel)

    def unfollow(self, channel: str) -> None:
        self._followed.pop(channel, None)

    def read(
        self,
        channel: str,
        settings: Channel,
        after: Position | None,
        last: int,
        done: Callable[[Page | None], None],
    ) -> None:
        if not self.broker.available:
            # It would take the place of publications in the buffer.
            done(None)
        else:
            self.broker.send(Read(self, channel, settings, after, last, done))

    def page(self, channel: str, settings: Channel, span: Span, done: Callable[[Page | None], None]) -> None:
        if not self.broker.available:
            done(None)
        else:
            self.broker.send(Look(self, channel, settings, span, done))

    def remove(self, channel: str, settings: Channel, done: Callable[[bool], None]) -> None:
        if not self.broker.available:
            done(False)
        else:
            self.broker.send(Remove(self, channel, settings, done))

    # For the calls.

    def keys(self, channel: str) -> tuple[bytes, bytes]:
        """The keys of a channel's stream and position."""
        return self.broker.key_of(b"history", channel), self.broker.key_of(b"position", channel)

    def fixed(self, script: bytes, channel: str, settings: Channel, session: Session) -> bytes:
        """The encoded part of a command that is the same for each call of a script for a channel."""
        known = self._fixed.get((script, channel))
        if known is not None and known[0] is settings and known[1] is session:
            return known[2]
        if len(self._fixed) >= REMEMBERED * 10:
            self._fixed.clear()
        stream, meta = self.keys(channel)
        age = settings.history_age * 1000
        bounds = (age + AFTERLIFE * 1000, settings.history, age, settings.history_size)
        lasting, *kept = [b"%d" % bound for bound in bounds]
        name, node = self.broker.name_of(channel), self.broker.node.encode()
        words = (b"EVALSHA", script, b"2", stream, meta, name, session.publish, session.run, lasting, node, *kept)
        assert len(words) == FIXED
        encoded = joined(words)
        self._fixed[script, channel] = settings, session, encoded
        return encoded

    def new_epoch(self) -> bytes:
        """A word that no other node and no other call has."""
        return b"%b%x" % (self._seed, next(self._epochs))

    def next_number(self) -> int:
        return next(self._numbers)

    def seen(self, channel: str) -> Position:
        """The newest position of a channel that this node knows."""
        followed = self._followed.get(channel)
        if followed is not None and followed.position.epoch:
            return followed.position
        return self._published.get(channel, _NOWHERE)

    def answered(self, channel: str, position: Position) -> None:
        """A publication of this node has this position, or an earlier one."""
        self._published[channel] = position
        self._published.move_to_end(channel)
        if len(self._published) > REMEMBERED:
            self._published.popitem(last=False)
        followed = self._followed.get(channel)
        if followed is not None:
            self._advance(followed, position)

    def placed(self, channel: str, position: Position) -> None:
        followed = self._followed.get(channel)
        if followed is not None:
            followed.looking = False
            self._advance(followed, position)
            self.follower.told(channel, position)

    def unplaced(self, channel: str) -> None:
        """The position could not be asked for, because too much waits for Redis."""
        followed = self._followed.get(channel)
        if followed is not None:
            followed.looking = False

    @staticmethod
    def _advance(followed: _Followed, position: Position) -> None:
        here = followed.position
        if position.epoch != here.epoch:
            followed.former, followed.position = here, position
        elif position.offset > here.offset:
            followed.position = position

    # As an observer of the broker.

    def confirmed(self, channel: str) -> None:
        followed = self._followed.get(channel)
        if followed is not None:
            # Messages may have been missed. The mark that is requested here says where the channel is.
            followed.sync = None
            self._place(channel)

    def signalled(self, channel: str, signal: bytes) -> None:
        followed = self._followed.get(channel)
        if followed is None:
            return
        try:
            found = _decode_signal(signal)
        except msgspec.DecodeError:
            self.metrics.count("redis_malformed")
            return
        if found.mark and (match := found.mark.split(":")) and len(match) == 2 and all(map(str.isdecimal, match)):
            followed.sync, followed.count = (int(match[0]), int(match[1])), 0
        lost = Position.parse(found.lost)
        if lost is not None and followed.former.epoch == lost.epoch and followed.former.offset < lost.offset:
            followed.former = lost
            self.follower.missed(channel)

    def heard(self, publication: Publication) -> Publication | None:
        followed = self._followed.get(publication.channel or "")
        if followed is None:
            return publication
        if publication.offset:
            followed.sync, followed.count = (publication.offset, 0), 0
            self._advance(followed, Position(publication.epoch, publication.offset))
        elif publication.origin == "outside":
            if followed.sync is None:
                # A node that knows its place among the publications stores it.
                self.metrics.count("redis_unclaimed")
                return None
            followed.count += 1
            claim = f"{followed.sync[0]}:{followed.sync[1]}:{followed.count}"
            return publication.replace(epoch=claim)
        return publication

    # Looking at positions.

    def _place(self, channel: str) -> None:
        followed = self._followed[channel]
        followed.looking = True
        self.broker.send(Where(self, channel, followed.settings, mark=True))

    def _look(self) -> None:
        """Ask for the position of each channel again and again, so that a loss is found that nobody has noticed."""
        turns = round(LOOK / STEP)
        waiting: Iterator[str] = iter(())
        left = 0
        while True:
            gevent.sleep(STEP)
            if not self.broker.available:
                continue
            if left <= 0:
                names = list(self._followed)
                waiting, left = iter(names), turns
                some = min(MOST, -(-len(names) // turns))
            left -= 1
            for _, channel in zip(range(some), waiting, strict=False):
                followed = self._followed.get(channel)
                if followed is not None and not followed.looking:
                    followed.looking = True
                    self.broker.send(Where(self, channel, followed.settings, mark=False))


class _Signal(msgspec.Struct):
    """What one node tells the others. Unknown fields are ignored."""

    mark: str = ""
    lost: str = ""


_decode_signal = msgspec.json.Decoder(_Signal).decode
