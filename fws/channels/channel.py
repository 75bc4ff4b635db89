"""A channel: its members on this node, what was published to it and is not written yet, and the fan-out in slices.

What arrives in one turn of the loop is joined and goes to each member in one call. That costs nothing when it is one
publication, and with many it is what makes the difference: a call to the kernel costs as much as 8 KiB of bytes.
"""

from __future__ import annotations

from time import perf_counter

from fws.channels.formats import PLAIN, Format
from fws.channels.member import Member
from fws.pipeline.publication import Publication
from fws.wire import native

# What an entry takes beside its payload.
ENTRY = 512
# Members served between two looks at the clock: 0.2 to 0.6 ms.
CHUNK = 64
# Of frames from this size on, a send takes so long that the clock is looked at after each.
LARGE = 64 * 1024


def _leave_all(receivers: list[Member | None], start: int, stop: int, frame: bytes) -> list[tuple[Member, int]]:
    """What `send_each` may do at the least: send to nobody."""
    return [(client, 0) for client in receivers[start:stop] if client is not None]


# Sends a frame to those of `receivers[start:stop]` who take it plain and for whom nothing waits, and returns the others
# with the bytes sent to each.
send_each = native.send_each or _leave_all


class Entry:
    """One publication that waits to be written.

    Attributes:
        excluded: the client that must not get it, if it is here.
    """

    __slots__ = ("_frames", "_opcode", "_payload", "excluded", "publication")

    def __init__(self, publication: Publication, opcode: int, payload: bytes, excluded: Member | None) -> None:
        self.publication = publication
        self.excluded = excluded
        self._opcode = opcode
        self._payload = payload
        self._frames: dict[Format, bytes] = {PLAIN: PLAIN.encode(publication, opcode, payload)}

    @property
    def weight(self) -> int:
        """Bytes that it takes as long as it waits."""
        return ENTRY + len(self._payload)

    def has(self, format: Format) -> bool:
        """Whether the frame in this format has been made."""
        return format in self._frames

    def frame(self, format: Format) -> bytes:
        """The frame in this format, made when it is first asked for."""
        frame = self._frames.get(format)
        if frame is None:
            frame = self._frames[format] = format.encode(self.publication, self._opcode, self._payload)
        return frame


class Channel:
    """Members, the oldest first, and the entries on their way to them.

    Entries wait until `fan_out`; those that wait then are one *batch* for the members of that moment, and the next
    batch begins when all have got it. Who sends to a member directly calls `settle` first, so that what was
    published before reaches it before.

    Attributes:
        name: None for the channel of all clients.
        waiting: published since the present batch began.
    """

    __slots__ = (
        "_ahead",
        "_batch",
        "_frames",
        "_partly",
        "_places",
        "_position",
        "_receivers",
        "_rest",
        "members",
        "name",
        "waiting",
    )

    def __init__(self, name: str | None) -> None:
        self.name = name
        self.members: dict[Member, None] = {}
        self.waiting: list[Entry] = []
        # Members that need no more than the entries from this number on, of those that wait.
        self._ahead: dict[Member, int] = {}
        self._batch: list[Entry] = []
        # Those who get a part of the present batch and have not yet: the number of its first entry.
        self._partly: dict[Member, int] = {}
        self._frames: dict[Format, bytes] = {}
        self._receivers: list[Member | None] = []
        self._position = 0
        # Of the receivers before that position those that `send_each` left.
        self._rest: dict[Member, None] = {}
        # Of the present batch, by receiver: its place among them, for `settle`; made when first needed.
        self._places: dict[Member, int] | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way."""
        return not self._batch and not self.waiting

    def join(self, client: Member) -> None:
        """A client becomes a member, of what is published from now on."""
        if client not in self.members:
            self.members[client] = None
            if self.waiting:
                self._ahead[client] = len(self.waiting)

    def leave(self, client: Member) -> None:
        """A member leaves. It gets what was published before."""
        if client in self.members:
            self.settle(client)
            del self.members[client]
            self._ahead.pop(client, None)

    def settle(self, client: Member) -> None:
        """Give one member now what is on its way to it."""
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
        """Write to members until all have everything, or the time is over.

        Args:
            until: seconds of `perf_counter`.

        Returns:
            The weight of the batch, which is done; None when the time is over before that.
        """
        if not self._batch:
            self._begin()
        total = len(self._receivers)
        plain = self._frames[PLAIN]
        chunk = CHUNK if len(plain) < LARGE else 1
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
            else:
                start = self._position
                self._position += chunk
                left = send_each(self._receivers, start, self._position, plain)
                # A step in which nobody was served is none: those it left come next.
                begun = begun or len(left) < min(chunk, total - start)
                for client, sent in left:
                    if sent:
                        # In the middle of a frame: its rest is queued before anything else can be written.
                        self._serve(client, sent)
                    else:
                        self._rest[client] = None
        weight = sum(entry.weight for entry in self._batch)
        self._batch, self._receivers, self._frames, self._places = [], [], {}, None
        return weight

    def _encode(self, format: Format) -> bool:
        """Whether the batch is encoded in this format; if not, the next of its entries is encoded now."""
        if format not in self._frames:
            for entry in self._batch:
                if not entry.has(format):
                    entry.frame(format)
                    return False
        return True

    def _write_part(self, client: Member, first: int, until: float) -> None:
        """Write entries of the batch to one client, from this one on; a `deliver` pipeline's until the time is over."""
        if not client.format.each:
            self._write(client, self._batch[first:])
            return
        for number, entry in enumerate(self._batch[first:], first + 1):
            if entry.excluded is not client:
                client.deliver(entry.publication, entry.weight)
            if perf_counter() > until and number < len(self._batch):
                self._partly[client] = number
                return

    def _begin(self) -> None:
        self._batch, self.waiting = self.waiting, []
        ahead, self._ahead = self._ahead, {}
        self._position = 0
        self._frames = {PLAIN: _joined(self._batch, PLAIN)}
        self._receivers = list(self.members)
        for entry in self._batch:
            if entry.excluded is not None:
                ahead.setdefault(entry.excluded, 0)
        if ahead:
            # They get a part of the batch.
            self._receivers = [client for client in self.members if client not in ahead]
            self._partly = {client: start for client, start in ahead.items() if client in self.members}

    def _serve(self, client: Member, sent: int = 0) -> None:
        """Give a receiver its batch, of which it has got so many bytes."""
        format = client.format
        if format.each:
            self._write(client, self._batch)
            return
        frame = self._frames.get(format)
        if frame is None:
            frame = self._frames[format] = _joined(self._batch, format)
        several = len(self._batch) > 1
        if sent:
            client.outbox.sent(frame, sent, several)
        else:
            client.outbox.write(frame, several)

    def _write(self, client: Member, entries: list[Entry]) -> None:
        """Write some entries to one client."""
        mine = [entry for entry in entries if entry.excluded is not client]
        if not client.format.each:
            if mine:
                client.outbox.write(_joined(mine, client.format), len(mine) > 1)
            return
        for entry in mine:
            client.deliver(entry.publication, entry.weight)


def _joined(entries: list[Entry], format: Format) -> bytes:
    return entries[0].frame(format) if len(entries) == 1 else b"".join([entry.frame(format) for entry in entries])
