"""The history of a single process. What it keeps ends with the process, and so does the epoch of each channel."""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from collections.abc import Callable
from itertools import islice
from typing import Any, Protocol

import msgspec

from fws.base.metrics import Metrics
from fws.config import Channel
from fws.histories.base import Follower, Page, Span
from fws.pipeline.publication import Position, Publication
from fws.wire.encoding import payload_of
from fws.wire.frames import BINARY

# The memory of a publication in addition to its payload, and that of a channel, both measured with `tracemalloc`.
ITEM = 120
# The usual memory of what others may know about a sender.
INFO = 500
LOG = 900
_decode_json = msgspec.json.Decoder().decode


def packed(message: Any) -> tuple[str, bytes]:
    """The kind of a message, and its payload. Raises TypeError for a value that cannot be written as JSON."""
    opcode, payload = payload_of(message)
    return "binary" if opcode == BINARY else "text" if isinstance(message, str) else "json", payload


def unpacked(kind: str, payload: bytes) -> Any:
    """The message of `packed`."""
    return payload if kind == "binary" else payload.decode() if kind == "text" else _decode_json(payload)


class _Item(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """A publication that is kept. The message is encoded, so that filters cannot change it afterwards."""

    time: float
    kind: str
    payload: bytes
    sender: str | None
    info: dict[str, Any] | None

    @property
    def weight(self) -> int:
        return ITEM + len(self.payload) + (INFO if self.info else 0)

    @property
    def message(self) -> Any:
        return unpacked(self.kind, self.payload)


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """What one channel keeps, for another process of this machine, whose monotonic clock is the same."""

    channel: str
    epoch: str
    first: int
    age: float
    items: list[_Item]


class _Log:
    """The publications of one channel.

    Attributes:
        first: the offset of the first one that is kept, or of the next one if none is.
        size: the bytes that they take.
        age: seconds after which they expire.
    """

    __slots__ = ("age", "epoch", "first", "items", "size")

    def __init__(self, age: float) -> None:
        self.epoch = secrets.token_urlsafe(6)
        self.first = 1
        self.items: deque[_Item] = deque()
        self.size = 0
        self.age = age

    @property
    def top(self) -> Position:
        return Position(self.epoch, self.first + len(self.items) - 1)

    def drop(self) -> None:
        """Forget the oldest publication."""
        self.size -= self.items.popleft().weight
        self.first += 1

    def clear(self) -> None:
        """Forget all publications. The numbering goes on."""
        self.first += len(self.items)
        self.items.clear()
        self.size = 0

    def publications(self, channel: str, first: int, last: int) -> list[Publication]:
        """Those with the offsets from `first` to `last`, as far as they are kept."""
        first = max(first, self.first)
        items = islice(self.items, first - self.first, max(0, last - self.first + 1))
        return [
            Publication(channel, item.message, item.sender, offset=offset, epoch=self.epoch, info=item.info)
            for offset, item in enumerate(items, first)
        ]

    def trim(self, settings: Channel, now: float) -> None:
        """Forget what the settings do not allow any more."""
        items, oldest = self.items, now - settings.history_age
        while items and (len(items) > settings.history or self.size > settings.history_size or items[0].time < oldest):
            self.drop()


class Successor(Protocol):
    """Numbers the publications of this process, and hands them to `MemoryHistory.repeat`. Its methods do not block."""

    def publish(
        self, publication: Publication, settings: Channel, done: Callable[[Position | None], None] | None
    ) -> None:
        """As `History.publish`."""

    def remove(self, channel: str) -> None:
        """The publications of a channel are forgotten here."""


class MemoryHistory:
    """Keeps publications in this process.

    Args:
        clock: monotonic seconds.
        limit: the most bytes of all channels together. The channels that were unused for longest are forgotten first.

    Attributes:
        successor: numbers publications instead of this process; None as long as there is no other one.
    """

    def __init__(self, clock: Callable[[], float], limit: int, metrics: Metrics) -> None:
        self.limit = limit
        self.size = 0
        self.successor: Successor | None = None
        self._clock = clock
        self._metrics = metrics
        # In the order of their last use.
        self._logs: OrderedDict[str, _Log] = OrderedDict()
        # Members of these channels know their epoch, so that only their publications are forgotten.
        self._followed: set[str] = set()

    def start(self, follower: Follower) -> None:
        self.follower = follower

    def kept(self) -> list[int]:
        """The number of publications that each channel keeps."""
        return [len(log.items) for log in self._logs.values()]

    def publish(
        self,
        publication: Publication,
        settings: Channel,
        done: Callable[[Position | None], None] | None = None,
    ) -> None:
        if self.successor is not None:
            self.successor.publish(publication, settings, done)
            return
        message, name = publication.message, publication.channel
        assert name is not None
        kind, payload = packed(message)
        log = self._log(name, settings)
        now = self._clock()
        offset = self._append(log, settings, _Item(now, kind, payload, publication.sender, publication.info), now)
        more = (publication.sender, publication.exclude, publication.hops, publication.origin, offset, log.epoch)
        self.follower.arrived(Publication(name, message, *more, publication.info, publication.trace))
        if done is not None:
            done(Position(log.epoch, offset))

    def _append(self, log: _Log, settings: Channel, item: _Item, now: float) -> int:
        before = log.size
        log.items.append(item)
        log.size += item.weight
        offset = log.first + len(log.items) - 1
        log.trim(settings, now)
        self._grown(log.size - before)
        return offset

    def follow(self, channel: str, settings: Channel) -> None:
        self._followed.add(channel)
        self.follower.told(channel, self._log(channel, settings).top)

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
        log = self._trimmed(channel, settings)
        top = log.top
        if after is None:
            start, complete = max(log.first, top.offset - last + 1), True
        elif after.epoch != log.epoch or after.offset > top.offset:
            start = log.first if after.epoch != log.epoch else top.offset + 1
            # A client that has seen nothing of an epoch has missed nothing if nothing was forgotten.
            complete = False
        else:
            start = max(log.first, after.offset + 1)
            complete = start == after.offset + 1
        done(Page(log.publications(channel, start, top.offset), top, complete))

    def page(self, channel: str, settings: Channel, span: Span, done: Callable[[Page | None], None]) -> None:
        log = self._trimmed(channel, settings)
        top, since = log.top, span.since
        if since is not None and (since.epoch not in ("", log.epoch) or since.offset > top.offset):
            done(Page([], top, False))
            return
        first, last, complete = log.first, top.offset, True
        if since is not None and span.reverse:
            last = since.offset - 1
        elif since is not None:
            complete = since.offset + 1 >= first
            first = max(first, since.offset + 1)
        if span.limit >= 0 and span.reverse:
            first = max(first, last - span.limit + 1)
        elif span.limit >= 0:
            last = min(last, first + span.limit - 1)
        found = log.publications(channel, first, last)
        done(Page(found[::-1] if span.reverse else found, top, complete))

    def remove(self, channel: str, settings: Channel, done: Callable[[bool], None]) -> None:
        if self.successor is not None:
            self.successor.remove(channel)
        log = self._logs.get(channel)
        if log is not None:
            self.size -= log.size
            log.clear()
        done(True)

    # Between a process and its successor.

    def dump(self) -> list[Kept]:
        """What all channels keep, the one first that was unused for longest."""
        return [Kept(name, log.epoch, log.first, log.age, list(log.items)) for name, log in self._logs.items()]

    def load(self, kept: Kept) -> None:
        """Go on with what another process has kept of a channel. What was published here before follows it.

        Nobody may follow the channel here yet.
        """
        own = self._logs.pop(kept.channel, None)
        self.size -= LOG + own.size if own is not None else 0
        log = self._logs[kept.channel] = _Log(kept.age)
        log.epoch, log.first = kept.epoch, kept.first
        log.items.extend([*kept.items, *(own.items if own is not None else ())])
        log.size = sum(item.weight for item in log.items)
        self._grown(LOG + log.size)

    def repeat(self, publication: Publication, settings: Channel) -> None:
        """Keep a publication that another process has numbered, and hand it to the follower."""
        name = publication.channel
        assert name is not None
        log = self._log(name, settings)
        if (log.epoch, log.first + len(log.items)) != (publication.epoch, publication.offset):
            # The other process has forgotten the channel, or began to number it before this one did.
            self.size -= log.size
            log.clear()
            log.epoch, log.first = publication.epoch, publication.offset
        now = self._clock()
        self._append(log, settings, _Item(now, *packed(publication.message), publication.sender, publication.info), now)
        self.follower.arrived(publication)

    def begin_anew(self) -> None:
        """Let each channel have another epoch: another process may go on with the numbers of the present one."""
        for log in self._logs.values():
            self.size -= log.size
            log.clear()
            log.epoch = secrets.token_urlsafe(6)

    def _trimmed(self, name: str, settings: Channel) -> _Log:
        """The log of a channel, without what has expired."""
        log = self._log(name, settings)
        before = log.size
        log.trim(settings, self._clock())
        self._grown(log.size - before)
        return log

    def _log(self, name: str, settings: Channel) -> _Log:
        """The log of a channel, which is now the one that was used last."""
        log = self._logs.get(name)
        if log is None:
            self._expire()
            log = self._logs[name] = _Log(settings.history_age)
            self._grown(LOG)
        else:
            log.age = settings.history_age
            self._logs.move_to_end(name)
        return log

    def _grown(self, size: int) -> None:
        self.size += size
        if self.size <= self.limit:
            return
        for _ in range(len(self._logs) - 1):
            self._forget(next(iter(self._logs)))
            self._metrics.count("histories_evicted")
            if self.size <= self.limit:
                break

    def _expire(self) -> None:
        """Forget the channels that were unused for longest, if their publications have expired.

        Each new channel forgets up to two old ones, so that this costs little and keeps up.
        """
        now = self._clock()
        for name, log in list(islice(self._logs.items(), 2)):
            if not log.items or log.items[-1].time < now - log.age:
                self._forget(name)

    def _forget(self, name: str) -> None:
        if name not in self._followed:
            self.size -= LOG + self._logs.pop(name).size
            return
        log = self._logs[name]
        self._logs.move_to_end(name)
        self.size -= log.size
        log.clear()
