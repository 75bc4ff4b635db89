"""A channel: its members on this node, its publications that are not written yet, and the fan-out in slices.

Publications of one turn of the loop are joined, and each member gets them in one call. For a single publication this
costs nothing. For many it matters much, because a call to the kernel costs as much as copying 8 KiB.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import Literal

from fws.channels.formats import PLAIN, Format
from fws.channels.member import Member
from fws.channels.offer import Offer
from fws.pipeline.publication import Publication
from fws.wire import native

Slow = Literal["close", "drop_oldest", "latest"]
# The memory of an entry in addition to its payload.
ENTRY = 512
# The members that are served between two looks at the clock. This takes 0.2 to 0.6 ms.
CHUNK = 64
# With frames from this size on, a send takes so long that the clock is checked after each.
LARGE = 64 * 1024


def _leave_all(
    receivers: list[Member | None], start: int, stop: int, frame: bytes, format: Format
) -> list[tuple[Member, int]]:
    """The simplest valid `send_each`: send to nobody."""
    return [(client, 0) for client in receivers[start:stop] if client is not None]


# Sends a frame to those of `receivers[start:stop]` that receive its format and have nothing queued. Returns the others
# with the number of bytes that were sent to each.
send_each = native.send_each or _leave_all


class Entry:
    """One publication that waits to be written.

    Attributes:
        excluded: the clients that must not get it, as far as they are on this node.
    """

    __slots__ = ("_frames", "_opcode", "_payload", "excluded", "publication")

    def __init__(
        self, publication: Publication, opcode: int, payload: bytes, excluded: tuple[Member, ...] = ()
    ) -> None:
        self.publication = publication
        self.excluded = excluded
        self._opcode = opcode
        self._payload = payload
        self._frames: dict[Format, bytes] = {PLAIN: PLAIN.encode(publication, opcode, payload)}

    def without(self, excluded: tuple[Member, ...]) -> Entry:
        """The same publication in another channel, without further clients. Both share their frames."""
        entry = Entry.__new__(Entry)
        entry.publication, entry.excluded = self.publication, (*self.excluded, *excluded)
        entry._opcode, entry._payload, entry._frames = self._opcode, self._payload, self._frames
        return entry

    @property
    def weight(self) -> int:
        """The bytes that the entry takes while it waits."""
        return ENTRY + len(self._payload)

    def has(self, format: Format) -> bool:
        """Whether the frame in this format has been made."""
        return format in self._frames

    def frame(self, format: Format) -> bytes:
        """The frame in this format. It is made at the first call."""
        frame = self._frames.get(format)
        if frame is None:
            frame = self._frames[format] = format.encode(self.publication, self._opcode, self._payload)
        return frame


class Channel:
    """Members, the oldest first, and pending entries.

    Entries wait until `fan_out`. Then they form a *batch* for the members at that time, and the next batch begins when
    all of them have got it. Code that sends to a member directly calls `settle` first, so that earlier publications
    arrive before that message.

    Attributes:
        name: None for the channel of all clients.
        slow: what happens to a member that does not keep up.
        waiting: the entries since the present batch began.
        began: when the present batch, or the last one, began; in seconds of `perf_counter`.
        reached: about how many messages the last complete batch has delivered.
        written: bytes of that batch which went directly to sockets.
        arriving: clients that become members once they have received what they missed; None for none.
    """

    __slots__ = (
        "_ahead",
        "_batch",
        "_format",
        "_frames",
        "_partly",
        "_places",
        "_position",
        "_receivers",
        "_rest",
        "arriving",
        "began",
        "members",
        "name",
        "reached",
        "slow",
        "waiting",
        "written",
    )

    def __init__(self, name: str | None, slow: Slow = "close") -> None:
        self.name = name
        self.slow = slow
        self.members: dict[Member, None] = {}
        self.waiting: list[Entry] = []
        self.began = 0.0
        self.reached = 0
        self.written = 0
        self.arriving: dict[Member, None] | None = None
        # Members that already have the first N waiting entries.
        self._ahead: dict[Member, int] = {}
        self._batch: list[Entry] = []
        # Members that still need a part of the present batch, with the number of the part's first entry.
        self._partly: dict[Member, int] = {}
        self._frames: dict[Format, bytes] = {}
        # The format that most receivers are assumed to have.
        self._format: Format = PLAIN
        self._receivers: list[Member | None] = []
        self._position = 0
        # Receivers before that position that `send_each` has left out.
        self._rest: dict[Member, None] = {}
        # The position of each receiver in the present batch, for `settle`. It is made when it is first needed.
        self._places: dict[Member, int] | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is pending."""
        return not self._batch and not self.waiting

    def join(self, client: Member) -> None:
        """A client becomes a member. It gets publications from now on."""
        if client not in self.members:
            self.members[client] = None
            if self.waiting:
                self._ahead[client] = len(self.waiting)

    def leave(self, client: Member) -> None:
        """A member leaves. It still gets earlier publications."""
        if client in self.members:
            self.settle(client)
            del self.members[client]
            self._ahead.pop(client, None)

    def serve(self, client: Member, entries: list[Entry]) -> None:
        """Write entries to one client now. They may be more than its outbox may hold, and do not count there."""
        client.outbox.allow(sum(entry.weight for entry in entries))
        if not client.format.each:
            self._write(client, entries)
            return
        for entry in entries:
            if client not in entry.excluded:
                client.deliver(entry.publication, 0)

    def settle(self, client: Member) -> None:
        """Write everything that is pending for one member now."""
        if self._batch:
            if self._places is None:
                self._places = {client: place for place, client in enumerate(self._receivers) if client is not None}
            place = self._places.get(client, -1)
            if client in self._partly:
                self._write(client, self._batch[self._partly.pop(client) :])
            elif client in self._rest:
                del self._rest[client]
                self._serve(client)
            elif place >= self._position:
                del self._places[client]
                self._receivers[place] = None
                self._serve(client)
        if self.waiting and client in self.members:
            start, end = self._ahead.get(client, 0), len(self.waiting)
            if start < end:
                self._ahead[client] = end
                self._write(client, self.waiting[start:end])

    def fan_out(self, until: float) -> int | None:
        """Write to members until all have got the batch, or the time is over.

        Args:
            until: the end of the turn, in seconds of `perf_counter`.

        Returns:
            The weight of the batch if it is complete; None if the time is over before that.
        """
        if not self._batch:
            self._begin()
        total = len(self._receivers)
        begun = False
        while self._partly or self._rest or self._position < total:
            if begun and perf_counter() > until:
                return None
            if self._partly:
                begun = True
                client, first = self._partly.popitem()
                if client.format.each or self._encode(client.format):
                    self._write_part(client, first, until)
                else:
                    self._partly[client] = first
            elif self._rest:
                begun = True
                client, _ = self._rest.popitem()
                if client.format.each:
                    self._write_part(client, 0, until)
                elif self._encode(client.format):
                    self._serve(client)
                else:
                    self._rest[client] = None
            elif not self._encode(self._format):
                begun = True
            else:
                frame = self._frame(self._format)
                chunk = CHUNK if len(frame) < LARGE else 1
                start = self._position
                self._position += chunk
                left = send_each(self._receivers, start, self._position, frame, self._format)
                served = min(chunk, total - start) - len(left)
                self.written += served * len(frame)
                # A step that served nobody does not count. The members that it left out come next.
                begun = begun or served > 0
                for client, sent in left:
                    if sent:
                        # A frame was written in part. Its rest is queued before anything else can be written.
                        self._serve(client, sent)
                    else:
                        self._rest[client] = None
        weight = sum(entry.weight for entry in self._batch)
        self.reached = total * len(self._batch)
        self._batch, self._receivers, self._frames, self._places = [], [], {}, None
        return weight

    def _encode(self, format: Format) -> bool:
        """Whether the batch is encoded in this format. If not, its next entry is encoded now."""
        if format not in self._frames:
            for entry in self._batch:
                if not entry.has(format):
                    entry.frame(format)
                    return False
        return True

    def _frame(self, format: Format) -> bytes:
        """The batch in this format."""
        frame = self._frames.get(format)
        if frame is None:
            frame = self._frames[format] = _joined(self._batch, format)
        return frame

    def _write_part(self, client: Member, first: int, until: float) -> None:
        """Write the batch from this entry on to one client. With a `deliver` pipeline, stop when the time is over."""
        if not client.format.each:
            self._write(client, self._batch[first:])
            return
        for number, entry in enumerate(self._batch[first:], first + 1):
            if client not in entry.excluded:
                client.deliver(entry.publication, entry.weight)
            if perf_counter() > until and number < len(self._batch):
                self._partly[client] = number
                return

    def _begin(self) -> None:
        self.began, self.written = perf_counter(), 0
        self._batch, self.waiting = self.waiting, []
        ahead, self._ahead = self._ahead, {}
        self._position = 0
        self._frames = {}
        self._receivers = list(self.members)
        # In practice, the members of a channel have one format, or one is rare.
        ends = (next(iter(self.members)), next(reversed(self.members))) if self.members else ()
        self._format = next((client.format for client in ends if not client.format.each), PLAIN)
        for entry in self._batch:
            for client in entry.excluded:
                ahead.setdefault(client, 0)
        if ahead:
            # These members get a part of the batch.
            self._receivers = [client for client in self.members if client not in ahead]
            self._partly = {client: start for client, start in ahead.items() if client in self.members}

    def _serve(self, client: Member, sent: int = 0) -> None:
        """Write the batch to a receiver that has got this many bytes of it."""
        format = client.format
        if format.each:
            self._write(client, self._batch)
            return
        frame = self._frame(format)
        if sent:
            client.outbox.sent(frame, sent, len(self._batch) > 1)
        else:
            self._put(client, frame, self._batch)

    def _put(self, client: Member, frame: bytes, entries: list[Entry]) -> None:
        """Give a client the frame of some entries, which may be dropped if the channel says so."""
        if not frame:
            return  # the format has nothing for these entries
        if self.slow == "close":
            client.outbox.write(frame, len(entries) > 1)
            return
        format = client.format
        latest = self.slow == "latest"
        if latest and len(entries) > 1 and client.outbox.lags:
            frame, entries = entries[-1].frame(format), entries[-1:]
        gap = partial(client.gap, self.name or "") if format.positions and entries[-1].publication.offset else None
        client.outbox.offer(frame, Offer(self, latest, len(entries), entries[-1].publication, gap))

    def _write(self, client: Member, entries: list[Entry]) -> None:
        """Write some entries to one client."""
        mine = [entry for entry in entries if client not in entry.excluded]
        if not client.format.each:
            if mine:
                self._put(client, _joined(mine, client.format), mine)
            return
        for entry in mine:
            client.deliver(entry.publication, entry.weight)


def _joined(entries: list[Entry], format: Format) -> bytes:
    return entries[0].frame(format) if len(entries) == 1 else b"".join([entry.frame(format) for entry in entries])
