"""The history in Redis: a stream and a position for each channel, which all nodes share.

A publication gets its offset in Redis and comes back to its own node as to all others, so that members see one order
everywhere. While Redis is away it waits, and nobody receives it.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import gevent
import msgspec

from fws.base.metrics import Metrics
from fws.brokers.envelope import EnvelopeError, decode, encode_rest
from fws.brokers.items import Item, Session
from fws.brokers.redis import RedisBroker
from fws.config import Channel
from fws.histories import scripts
from fws.histories.base import Follower, Page
from fws.pipeline.publication import Position, Publication
from fws.redis.resp import joined, sha

# Seconds between two looks at the position of a channel. A loss that nobody has noticed is found after this time.
LOOK = 20.0
# Seconds between two steps of the look, and the most channels in one step.
STEP = 0.5
MOST = 500
# A position is kept longer than the publications, so that a client that returns late learns whether it missed anything.
AFTERLIFE = 86400.0
# The channels whose last position is remembered after this node has published, to notice that Redis has lost it.
REMEMBERED = 1000
# The bytes that the answer to a read may have, in the count of what waits, so that few are under way at a time.
ANSWER = 32 * 1024
# The words of a command that are the same for each call of a script for a channel.
FIXED = 13
_NOWHERE = Position("", 0)


class _Call(Item):
    """A script for one channel."""

    __slots__ = ("_channel", "_history")

    repeatable = True
    scripted = True

    def __init__(self, history: RedisHistory, channel: str, size: int) -> None:
        super().__init__(history.broker.name_of(channel), size)
        self._history = history
        self._channel = channel

    def call(self, script: bytes, settings: Channel, session: Session, more: Sequence[bytes]) -> bytes:
        """The command.

        Args:
            script: its digest.
            more: the arguments after those that all scripts have.
        """
        history = self._history
        seen = history.seen(self._channel)
        words = (history.new_epoch(), seen.epoch.encode(), b"%d" % seen.offset, *more)
        fixed = history.fixed(script, self._channel, settings, session)
        return b"*%d\r\n%b%b" % (FIXED + len(words), fixed, joined(words))


class _Publish(_Call):
    """A publication to number, keep and carry.

    Attributes:
        number: counts this node's publications, so that Redis knows one that it has got already.
    """

    __slots__ = ("_claim", "_envelope", "_settings", "_waiting", "number")

    publications = 1

    def __init__(self, history: RedisHistory, publication: Publication, settings: Channel, envelope: bytes) -> None:
        super().__init__(history, publication.channel or "", len(envelope))
        self._settings = settings
        self._envelope = envelope
        self._claim = publication.epoch.encode() if publication.origin == "outside" else b""
        self.number = history.next_number()
        self._waiting = self.size if history.broker.available else 0
        history.follower.weigh(self._waiting)

    @property
    def joins(self) -> bool:  # type: ignore[override]
        """Whether it can share a call. Each claim is decided by itself."""
        return not self._claim

    @classmethod
    def command(cls, items: Sequence[_Publish], session: Session) -> bytes:
        first = items[0]
        words = [first._claim]
        for item in items:
            words += (b"%d" % item.number, item._envelope)
        return first.call(_SHA_PUBLISH, first._settings, session, words)

    def answered(self, reply: Any) -> None:
        self._end()
        self._history.answered(self._channel, _position(reply))

    def refused(self) -> None:
        # It comes after those that were sent together with it and were not refused.
        self.number = self._history.next_number()

    def lost(self) -> None:
        self._end()

    def delayed(self) -> None:
        self._end()

    def _end(self) -> None:
        self._history.follower.weigh(-self._waiting)
        self._waiting = 0


class _Where(_Call):
    """Asks for the position of a channel.

    Args:
        mark: whether every node gets a mark at this place.
    """

    __slots__ = ("_mark", "_settings")

    def __init__(self, history: RedisHistory, channel: str, settings: Channel, *, mark: bool) -> None:
        super().__init__(history, channel, 200)
        self._settings = settings
        self._mark = mark

    @classmethod
    def command(cls, items: Sequence[_Where], session: Session) -> bytes:
        [item] = items
        mark = b"1" if item._mark else b"0"
        return item.call(_SHA_POSITION, item._settings, session, (mark,))

    def answered(self, reply: Any) -> None:
        self._history.placed(self._channel, _position(reply))

    def lost(self) -> None:
        self._history.unplaced(self._channel)


class _Read(_Call):
    """Reads publications."""

    __slots__ = ("_after", "_done", "_last", "_settings")

    def __init__(
        self,
        history: RedisHistory,
        channel: str,
        settings: Channel,
        after: Position | None,
        last: int,
        done: Callable[[Page | None], None],
    ) -> None:
        super().__init__(history, channel, ANSWER)
        self._settings = settings
        self._after = after
        self._last = last
        self._done = done

    @classmethod
    def command(cls, items: Sequence[_Read], session: Session) -> bytes:
        [item] = items
        after = item._after
        start = (b"", b"%d" % item._last)
        if after is not None:
            # An empty epoch would mean the newest ones.
            start = (after.epoch.encode() or b"-", b"%d" % after.offset)
        return item.call(_SHA_READ, item._settings, session, start)

    def answered(self, reply: Any) -> None:
        self._done(self._page(reply))

    def lost(self) -> None:
        self._done(None)

    def _page(self, reply: Any) -> Page:
        top, complete = _position(reply[:2]), reply[2] == 1
        publications: list[Publication] = []
        for payload in reply[3]:
            try:
                publication = None if payload is None else decode(self._channel, payload, self._history.broker.node)
            except EnvelopeError:
                publication = None
            if publication is None or not publication.offset:
                # Another program has written it, or it is larger than [redis] max_message.
                self._history.metrics.count("redis_malformed")
                complete = False
                publications.clear()
            else:
                publications.append(publication)
        return Page(publications, top, complete)


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

    def publish(self, publication: Publication, settings: Channel) -> None:
        if publication.origin == "outside" and not publication.epoch:
            # It arrived for a pattern. A node that follows the channel stores it.
            self.metrics.count("redis_unclaimed")
            return
        envelope = encode_rest(publication, self.broker.node)
        if len(envelope) > self.broker.largest:
            self.metrics.count("redis_oversized")
        else:
            self.broker.send(_Publish(self, publication, settings, envelope))

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
            self.broker.send(_Read(self, channel, settings, after, last, done))

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
        self.broker.send(_Where(self, channel, followed.settings, mark=True))

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
                    self.broker.send(_Where(self, channel, followed.settings, mark=False))


class _Signal(msgspec.Struct):
    """What one node tells the others. Unknown fields are ignored."""

    mark: str = ""
    lost: str = ""


_decode_signal = msgspec.json.Decoder(_Signal).decode
_SHA_PUBLISH, _SHA_POSITION, _SHA_READ = map(sha, scripts.ALL)


def _position(reply: Any) -> Position:
    epoch, offset = reply
    return Position(epoch.decode("ascii"), offset)
