"""What the history in Redis sends: a call of a script for one channel, and what its reply means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from fws.base.metrics import Metrics
from fws.brokers.envelope import EnvelopeError, decode
from fws.brokers.items import Item, Session
from fws.brokers.redis import RedisBroker
from fws.config import Channel
from fws.histories import scripts
from fws.histories.base import Follower, Page, Span
from fws.pipeline.publication import Position, Publication
from fws.redis.resp import joined, sha

# The bytes that the answer to a read may have, in the count of what waits, so that few are under way at a time.
ANSWER = 32 * 1024
# The words of a command that are the same for each call of a script for a channel.
FIXED = 13
_SHA_PUBLISH, _SHA_POSITION, _SHA_READ, _SHA_PAGE, _SHA_REMOVE = map(sha, scripts.ALL)


class Home(Protocol):
    """The history that sends the calls."""

    broker: RedisBroker
    metrics: Metrics
    follower: Follower

    def fixed(self, script: bytes, channel: str, settings: Channel, session: Session) -> bytes:
        """The encoded part of a command that is the same for each call of a script for a channel."""

    def new_epoch(self) -> bytes:
        """A word that no other node and no other call has."""

    def next_number(self) -> int:
        """A number for a publication of this node, larger than all before."""

    def seen(self, channel: str) -> Position:
        """The newest position of a channel that this node knows."""

    def answered(self, channel: str, position: Position) -> None:
        """A publication of this node has this position, or an earlier one."""

    def placed(self, channel: str, position: Position) -> None:
        """The channel is at this position."""

    def unplaced(self, channel: str) -> None:
        """The position could not be asked for."""


class Call(Item):
    """A script for one channel."""

    __slots__ = ("_channel", "_history")

    repeatable = True
    scripted = True

    def __init__(self, history: Home, channel: str, size: int) -> None:
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


class Publish(Call):
    """A publication to number, keep and carry.

    Attributes:
        number: counts this node's publications, so that Redis knows one that it has got already.
    """

    __slots__ = ("_claim", "_done", "_envelope", "_place", "_settings", "_waiting", "number")

    publications = 1

    def __init__(
        self,
        history: Home,
        publication: Publication,
        settings: Channel,
        envelope: bytes,
        done: Callable[[Position | None], None] | None,
    ) -> None:
        super().__init__(history, publication.channel or "", len(envelope))
        self._done = done
        # The place among those that share the call that was made last.
        self._place = 0
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
    def command(cls, items: Sequence[Publish], session: Session) -> bytes:
        first = items[0]
        words = [first._claim]
        for place, item in enumerate(items):
            item._place = place
            words += (b"%d" % item.number, item._envelope)
        return first.call(_SHA_PUBLISH, first._settings, session, words)

    def answered(self, reply: Any) -> None:
        self._end()
        top, offsets = position_of(reply), reply[2]
        self._history.answered(self._channel, top)
        if self._done is not None:
            offset = offsets[self._place] if self._place < len(offsets) else 0
            self._done(Position(top.epoch, offset))

    def refused(self) -> None:
        # It comes after those that were sent together with it and were not refused.
        self.number = self._history.next_number()

    def lost(self) -> None:
        self._end()
        if self._done is not None:
            self._done(None)

    def delayed(self) -> None:
        self._end()

    def _end(self) -> None:
        self._history.follower.weigh(-self._waiting)
        self._waiting = 0


class Where(Call):
    """Asks for the position of a channel.

    Args:
        mark: whether every node gets a mark at this place.
    """

    __slots__ = ("_mark", "_settings")

    def __init__(self, history: Home, channel: str, settings: Channel, *, mark: bool) -> None:
        super().__init__(history, channel, 200)
        self._settings = settings
        self._mark = mark

    @classmethod
    def command(cls, items: Sequence[Where], session: Session) -> bytes:
        [item] = items
        mark = b"1" if item._mark else b"0"
        return item.call(_SHA_POSITION, item._settings, session, (mark,))

    def answered(self, reply: Any) -> None:
        self._history.placed(self._channel, position_of(reply))

    def lost(self) -> None:
        self._history.unplaced(self._channel)


class _Asked(Call):
    """Asks for publications."""

    __slots__ = ("_done", "_settings")

    def __init__(self, history: Home, channel: str, settings: Channel, done: Callable[[Page | None], None]) -> None:
        super().__init__(history, channel, ANSWER)
        self._settings = settings
        self._done = done

    def answered(self, reply: Any) -> None:
        self._done(self._page(reply))

    def lost(self) -> None:
        self._done(None)

    def _page(self, reply: Any) -> Page:
        top, complete = position_of(reply[:2]), reply[2] == 1
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


class Read(_Asked):
    """Reads what comes after a position, or the newest publications."""

    __slots__ = ("_after", "_last")

    def __init__(
        self,
        history: Home,
        channel: str,
        settings: Channel,
        after: Position | None,
        last: int,
        done: Callable[[Page | None], None],
    ) -> None:
        super().__init__(history, channel, settings, done)
        self._after = after
        self._last = last

    @classmethod
    def command(cls, items: Sequence[Read], session: Session) -> bytes:
        [item] = items
        after = item._after
        start = (b"", b"%d" % item._last)
        if after is not None:
            # An empty epoch would mean the newest ones.
            start = (after.epoch.encode() or b"-", b"%d" % after.offset)
        return item.call(_SHA_READ, item._settings, session, start)


class Look(_Asked):
    """Reads a span."""

    __slots__ = ("_span",)

    def __init__(
        self, history: Home, channel: str, settings: Channel, span: Span, done: Callable[[Page | None], None]
    ) -> None:
        super().__init__(history, channel, settings, done)
        self._span = span

    @classmethod
    def command(cls, items: Sequence[Look], session: Session) -> bytes:
        [item] = items
        since, limit, reverse = item._span
        start = (b"0", b"", b"0") if since is None else (b"1", since.epoch.encode(), b"%d" % since.offset)
        words = (*start, b"%d" % limit, b"1" if reverse else b"0")
        return item.call(_SHA_PAGE, item._settings, session, words)


class Remove(Call):
    """Forgets the publications of a channel."""

    __slots__ = ("_done", "_settings")

    # Sent again, it could remove what was published in between.
    repeatable = False

    def __init__(self, history: Home, channel: str, settings: Channel, done: Callable[[bool], None]) -> None:
        super().__init__(history, channel, 200)
        self._settings = settings
        self._done = done

    @classmethod
    def command(cls, items: Sequence[Remove], session: Session) -> bytes:
        [item] = items
        return item.call(_SHA_REMOVE, item._settings, session, ())

    def answered(self, reply: Any) -> None:
        self._done(True)

    def lost(self) -> None:
        self._done(False)


def position_of(reply: Any) -> Position:
    """The position of a channel, with which each reply begins."""
    epoch, offset, *_ = reply
    return Position(epoch.decode("ascii"), offset)
