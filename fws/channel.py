"""A channel: its members on this node, what was published to it and is not written yet, and the fan-out in slices.

What arrives in one turn of the loop is joined and goes to each member in one call. That costs nothing when it is one
publication, and with many it is what makes the difference: a call to the kernel costs as much as 8 KiB of bytes.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from fws.message import compressed
from fws.protocol.frames import encode

if TYPE_CHECKING:
    from fws.client import Client
    from fws.publication import Publication

# The `kind` of a client whose endpoint has a `deliver` pipeline.
DELIVER = -1
# What an entry takes beside its payload.
ENTRY = 512
# Members served between two looks at the clock: 0.1 ms.
CHUNK = 16
# Of frames from this size on, a send takes so long that the clock is looked at after each.
LARGE = 64 * 1024


class Entry:
    """One publication that waits to be written.

    Attributes:
        excluded: the client that must not get it, if it is here.
    """

    __slots__ = ("_frames", "_opcode", "_payload", "excluded", "publication")

    def __init__(self, publication: Publication, opcode: int, payload: bytes, excluded: Client | None) -> None:
        self.publication = publication
        self.excluded = excluded
        self._opcode = opcode
        self._payload = payload
        self._frames = {0: encode(opcode, payload)}

    @property
    def weight(self) -> int:
        """Bytes that it takes as long as it waits."""
        return ENTRY + len(self._payload)

    def frame(self, kind: int) -> bytes:
        """The frame for receivers of this kind: plain (0), or compressed with a window of so many bits."""
        frame = self._frames.get(kind)
        if frame is None:
            frame = self._frames[kind] = compressed(self._opcode, self._payload, kind)
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

    __slots__ = ("_ahead", "_batch", "_frames", "_places", "_position", "_receivers", "members", "name", "waiting")

    def __init__(self, name: str | None) -> None:
        self.name = name
        self.members: dict[Client, None] = {}
        self.waiting: list[Entry] = []
        # Members that need no more than the entries from this number on, of those that wait.
        self._ahead: dict[Client, int] = {}
        self._batch: list[Entry] = []
        self._frames: dict[int, bytes] = {}
        self._receivers: list[Client] = []
        self._position = 0
        # Of the present batch, by receiver: its place among them, for `settle`; made when first needed.
        self._places: dict[Client, int] | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way."""
        return not self._batch and not self.waiting

    def join(self, client: Client) -> None:
        """A client becomes a member, of what is published from now on."""
        if client not in self.members:
            self.members[client] = None
            if self.waiting:
                self._ahead[client] = len(self.waiting)

    def leave(self, client: Client) -> None:
        """A member leaves. It gets what was published before."""
        if client in self.members:
            self.settle(client)
            del self.members[client]
            self._ahead.pop(client, None)

    def settle(self, client: Client) -> None:
        """Give one member now what is on its way to it."""
        if self._batch:
            if self._places is None:
                self._places = {receiver: place for place, receiver in enumerate(self._receivers)}
            place = self._places.get(client, -1)
            if place >= self._position:
                del self._places[client]
                self._receivers[place] = None  # type: ignore[call-overload]
                self._write(client, self._batch)
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
        receivers = self._receivers
        total = len(receivers)
        frames = self._frames
        several = len(self._batch) > 1
        chunk = CHUNK if len(frames[0]) < LARGE else 1
        while self._position < total:
            for client in receivers[self._position : self._position + chunk]:
                # Before the writing: a filter of `deliver` may send to a client, and so ask what that is still to get.
                self._position += 1
                if client is None:
                    continue
                frame = frames.get(client.kind)
                if frame is not None:
                    client.outbox.write(frame, several)
                else:
                    self._serve(client)
            if perf_counter() > until and self._position < total:
                return None
        weight = sum(entry.weight for entry in self._batch)
        self._batch, self._receivers, self._frames, self._places = [], [], {}, None
        return weight

    def _begin(self) -> None:
        self._batch, self.waiting = self.waiting, []
        ahead, self._ahead = self._ahead, {}
        self._position = 0
        self._frames = {0: _joined(self._batch, 0)}
        self._receivers = list(self.members)
        for entry in self._batch:
            if entry.excluded is not None:
                ahead.setdefault(entry.excluded, 0)
        if ahead:
            # They get a part of the batch: at once, as these are few.
            self._receivers = [client for client in self._receivers if client not in ahead]
            for client, start in ahead.items():
                if client in self.members:
                    self._write(client, self._batch[start:])

    def _serve(self, client: Client) -> None:
        """Write to a receiver of a kind that has no frame yet, or that has a pipeline of its own."""
        if client.kind == DELIVER:
            self._write(client, self._batch)
        else:
            frame = self._frames[client.kind] = _joined(self._batch, client.kind)
            client.outbox.write(frame, len(self._batch) > 1)

    def _write(self, client: Client, entries: list[Entry]) -> None:
        """Write some entries to one client."""
        mine = [entry for entry in entries if entry.excluded is not client]
        if client.kind != DELIVER:
            if mine:
                client.outbox.write(_joined(mine, client.kind), len(mine) > 1)
            return
        for entry in mine:
            client.deliver(entry.publication, entry.weight)


def _joined(entries: list[Entry], kind: int) -> bytes:
    return entries[0].frame(kind) if len(entries) == 1 else b"".join([entry.frame(kind) for entry in entries])
