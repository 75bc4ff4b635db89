"""Records what was sent, who must get it, and what arrived. Pure: every time is passed in.

Each message of a chat carries its sender, its number and a checksum, so that torn, duplicate and reordered messages are
recognized. The messages that must arrive are those that docs/redis.md guarantees:

* From a sender on the same process: everything from the moment that the receiver was admitted, as long as it reads.
* From another process: at most once and in order at any time; and everything while Redis is available, beginning a
while after the receiver was admitted.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable

# Seconds in which a new member begins to hear other processes, and in which what they send is on its way.
GRACE = 4.0
# Seconds before Redis goes and after it is back in which what is sent may be lost on the way to other processes: the
# write that has no answer; and the reconnections, at least every second or so and not all at once.
BEFORE, AFTER = 2.0, 4.0


def written(sender: int, number: int, filler: str = "") -> str:
    """The text of a message."""
    body = f"{sender}|{number}|{filler}"
    return f"m|{zlib.crc32(body.encode()):08x}|{body}"


def read(message: str | bytes) -> tuple[int, int] | None:
    """Sender and number of a message; None for a torn message."""
    if not isinstance(message, str):
        return None
    kind, _, rest = message.partition("|")
    checksum, _, body = rest.partition("|")
    if kind != "m" or f"{zlib.crc32(body.encode()):08x}" != checksum:
        return None
    sender, number, _ = body.split("|", 2)
    return int(sender), int(number)


class Sender:
    """One connection that sends to a room.

    Attributes:
        times: the time of each of its messages.
        echoed: the number of the last message that came back to it when it was published; -1 before.
    """

    def __init__(self, key: int, process: int, room: str) -> None:
        self.key = key
        self.process = process
        self.room = room
        self.times: list[float] = []
        self.echoed = -1

    def next(self, now: float, filler: str = "") -> str:
        self.times.append(now)
        return written(self.key, len(self.times) - 1, filler)


class _Heard:
    """What a receiver has got of one sender: the numbers from `first` to `last` without the `missing` ones."""

    __slots__ = ("first", "last", "missing")

    def __init__(self, number: int) -> None:
        self.first = self.last = number
        self.missing: set[int] = set()


class Receiver:
    """One member of a room, from its admission."""

    def __init__(self, ledger: Ledger, process: int, room: str, now: float) -> None:
        self._ledger = ledger
        self._process = process
        self._room = room
        self._since = now
        # What is sent from here on must come.
        self._from = {one.key: len(one.times) for one in ledger.senders[room] if one.process == process}
        self._heard: dict[int, _Heard] = {}
        self._until: dict[int, int] = {}

    def take(self, message: str | bytes) -> tuple[int, int] | None:
        """A message has arrived. Returns its sender and number."""
        counts = self._ledger.counts
        counts["delivered"] += 1
        found = read(message)
        if found is None:
            counts["torn"] += 1
            return None
        key, number = found
        heard = self._heard.get(key)
        if heard is None:
            self._heard[key] = _Heard(number)
        elif number > heard.last:
            heard.missing.update(range(heard.last + 1, number))
            heard.last = number
        elif number in heard.missing:
            heard.missing.discard(number)
            counts["out of order"] += 1
        else:
            counts["duplicated"] += 1
        return found

    def wants(self) -> None:
        """From now on, wait only for messages that have been published. `has_all` says when they have arrived."""
        for sender in self._ledger.senders[self._room]:
            if sender.process == self._process and sender.echoed >= self._from.get(sender.key, 0):
                self._until[sender.key] = sender.echoed

    def has_all(self) -> bool:
        return all(key in self._heard and self._heard[key].last >= number for key, number in self._until.items())

    def close(self, now: float, polite: bool) -> None:
        """Count missing messages. A receiver that was cut off may miss the end of each sender's messages only."""
        for sender in self._ledger.senders[self._room]:
            if sender.times and sender.times[-1] >= self._since:
                for number in self._missed(sender, now, polite):
                    self._ledger.miss(sender, number, self._process)

    def _missed(self, sender: Sender, now: float, polite: bool) -> Iterable[int]:
        heard = self._heard.get(sender.key)
        if sender.process == self._process:
            first = self._from.get(sender.key, 0)
            last = self._until.get(sender.key, -1)
        else:
            first = bisect_right(sender.times, self._since + GRACE)
            last = min(sender.echoed, bisect_right(sender.times, now - GRACE) - 1)
        if heard is None:
            return range(first, last + 1) if polite else ()
        missed = set(heard.missing)
        missed.update(range(first, heard.first))
        if polite:
            missed.update(range(heard.last + 1, last + 1))
        return missed


class Ledger:
    """The messages of all clients.

    Attributes:
        counts: `sent`, `delivered`, `torn`, `duplicated`, `out of order`; `lost` on one process, `lost between
            processes`, `lost while Redis was away`; and further counts of the clients.
        outages: when Redis went away and when it was back; None until then.
        latest: the time of the last lost message, in seconds after Redis was back.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.senders: defaultdict[str, list[Sender]] = defaultdict(list)
        self.outages: list[tuple[float, float | None]] = []
        self.latest = 0.0
        self._keys = 0

    def sender(self, process: int, room: str) -> Sender:
        self._keys += 1
        sender = Sender(self._keys, process, room)
        self.senders[room].append(sender)
        return sender

    def miss(self, sender: Sender, number: int, process: int) -> None:
        if sender.process == process:
            self.counts["lost"] += 1
        elif self._is_away(sender.times[number]):
            self.counts["lost while Redis was away"] += 1
        else:
            self.counts["lost between processes"] += 1

    def _is_away(self, time: float) -> bool:
        for went, back in self.outages:
            if went - BEFORE <= time and (back is None or time <= back + AFTER):
                self.latest = max(self.latest, time - (back or time))
                return True
        return False
