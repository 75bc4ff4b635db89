"""The outbox: a bounded queue of bytes for one client, and the only code that writes to its socket."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Protocol

from fws.channels.offer import Offer
from fws.clients.droppable import Droppable, drop_oldest, leave_gap
from fws.runtime.traffic import Traffic

# The memory of a queued frame in addition to its bytes. Without it, 1 MiB of 3-byte pongs would take 14 MiB.
OVERHEAD = 48
# Corked bytes are written when there are more than this. A larger write saves nothing and delays the first frame.
CORK = 64 * 1024
# The most that several recoveries may let wait, as a multiple of the limit.
ALLOWANCE = 4
# Linux accepts at most 1,024 pieces per sendmsg. More than a few hundred gain nothing.
MAX_PIECES = 256


class Wire(Protocol):
    """What an outbox needs of a transport.

    Attributes:
        fd: the descriptor; -1 if bytes may not be written to it directly.
        waits: whether it has taken bytes that it has not written yet.
    """

    fd: int

    @property
    def waits(self) -> bool: ...

    def send(self, data: bytes | memoryview, /) -> int: ...
    def sendmsg(self, pieces: list[bytes | memoryview], /) -> int: ...
    def when_writable(self, callback: Callable[[], None]) -> None: ...
    def stop_writing(self) -> None: ...
    def shutdown(self) -> None: ...


class Owner(Protocol):
    """The client that has the outbox.

    Attributes:
        fd: set by the outbox: the descriptor to which the fan-out may write a frame directly; -1 if it must call
            `write`. It is an attribute of the owner because the fan-out then looks at one object less for each
            delivery, which saves 3 %.
    """

    fd: int

    def overflow(self) -> None:
        """A frame was not accepted, because too many bytes wait already."""

    def skipped(self, count: int) -> None:
        """So many publications were dropped, as their channel says, because too many bytes wait already."""


class Outbox:
    """Accepts whole frames and writes them in order. A frame is never torn, and no call blocks.

    If nothing is queued, a frame is written at once with one non-blocking `send`. What the socket does not accept is
    queued, and written when the socket is writable. A frame that would make the queue larger than `limit` bytes is not
    queued; the owner's `overflow` is called instead. A single frame above the limit is accepted if nothing else waits.

    Frames are kept back in three cases: until `open`, because what a `connect` pipeline sends must follow the 101;
    between `cork` and `uncork`, to write them with one call; and between `hold` and `release`, because it is not known
    yet whether the client may have them.

    Args:
        traffic: counts the bytes that the socket has taken.

    Attributes:
        limit: the most bytes that may wait.
        size: bytes that wait.
    """

    __slots__ = (
        "_allowed",
        "_direct",
        "_ending",
        "_held",
        "_held_size",
        "_owner",
        "_partial",
        "_queue",
        "_sealed",
        "_traffic",
        "_wire",
        "corked",
        "limit",
        "moved",
        "size",
    )

    def __init__(self, limit: int, owner: Owner, traffic: Traffic) -> None:
        self.limit = limit
        self._allowed = 0
        self._owner = owner
        self._traffic = traffic
        owner.fd = -1
        self._wire: Wire | None = None
        self._queue: deque[bytes | memoryview] | None = deque()
        self._direct = False
        self._held: list[tuple[bytes, bool]] | None = None
        self._held_size = 0
        self._partial = False  # whether a part of the queue's first frame has been sent
        self._sealed = False
        self._ending = False
        self.corked = False
        self.moved = False
        self.size = 0

    @property
    def waits(self) -> bool:
        """Whether bytes wait until the peer reads others."""
        return self.size > 0 or (self._wire is not None and self._wire.waits)

    @property
    def lags(self) -> bool:
        """Whether bytes wait because the peer does not keep up, and not because its handshake is not over."""
        return self._held is None and self._wire is not None and (self.size > 0 or self._wire.waits)

    @property
    def direct(self) -> bool:
        """Whether the client gets the same frames as others, without a `deliver` pipeline."""
        return self._direct

    @direct.setter
    def direct(self, direct: bool) -> None:
        self._direct = direct
        free = direct and self._wire is not None and self._queue is None and not self._sealed
        self._owner.fd = self._wire.fd if free and self._wire is not None else -1

    def open(self, wire: Wire, head: bytes = b"", *, direct: bool) -> None:
        """The handshake is complete: write what was kept back, and from now on write directly.

        Args:
            head: the 101, which goes before all frames.
            direct: as the attribute.
        """
        self._wire = wire
        self._direct = direct
        if head and self._queue is not None:
            self._queue.appendleft(head)
            self.size += len(head)
        self._write_queue()

    def cork(self) -> None:
        """Keep back what is written from now on, unless something is queued already."""
        if self._queue is None:
            self._queue = deque()
            self.corked = True
            self._owner.fd = -1

    def uncork(self) -> None:
        """Write what was kept back since `cork`. May be called without `cork`."""
        if self.corked:
            self._write_queue()

    def hold(self) -> None:
        """Keep back what is written from now on, until it is known whether the client may have it."""
        if self._queue is None:
            self._queue = deque()
            self._owner.fd = -1
        self._held, self._held_size = [], 0

    def release(self, first: bytes = b"") -> None:
        """Write what was kept back since `hold`. May be called without `hold`.

        Args:
            first: a frame that goes before it.
        """
        held, self._held = self._held, None
        if first:
            self.write(first)
        if held is not None:
            for frame, several in held:
                self.write(frame, several)
            if not self.corked:
                self._write_queue()

    def allow(self, size: int) -> None:
        """Let this many bytes more wait until the queue is empty: what a member has missed is sent at once.

        For several channels, this is bounded by a multiple of the limit, so that a client which reads nothing cannot
        ask again and again.
        """
        earlier = 0 if self._queue is None else self._allowed
        self._allowed = max(earlier, min(earlier + size, ALLOWANCE * self.limit)) if earlier else size

    def write(self, frame: bytes, several: bool = False) -> bool:
        """Send or queue one frame, or `several` joined. Returns False if it is not sent: sealed, or above the limit."""
        if self._sealed:
            return False
        if self._queue is None:
            assert self._wire is not None
            try:
                sent = self._wire.send(frame)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.discard()
                return False
            self._traffic.bytes_out += sent
            if sent != len(frame):
                self._keep(frame, sent, several)
            return True
        if self._held is not None:
            if self._held_size + len(frame) > self.limit + self._allowed and (self._held or several):
                self._owner.overflow()
                return False
            self._held.append((frame, several))
            self._held_size += OVERHEAD + len(frame)
            return True
        if self.size + OVERHEAD * len(self._queue) + len(frame) > self.limit + self._allowed and (self.size or several):
            if self.corked:
                self._write_queue()
                return self.write(frame, several)
            self._owner.overflow()
            return False
        self._queue.append(frame)
        self.size += len(frame)
        if self.corked and self.size > CORK:
            self._write_queue()
        return True

    def offer(self, frame: bytes, offer: Offer) -> None:
        """Send or queue a frame of a channel whose frames may be dropped. The client is not closed because of it."""
        if self.corked:
            self._write_queue()
        queue = self._queue
        if self._sealed or queue is None or self._held is not None or self._wire is None:
            self.write(frame, offer.number > 1)
            return
        dropped = 0
        while queue and (offer.latest or self._exceeds(len(frame))):
            count, change = drop_oldest(queue, int(self._partial), offer.channel)
            if not count:
                break
            dropped += count
            self.size += change
        if not self._exceeds(len(frame)):
            queue.append(Droppable.of(frame, offer))
            self.size += len(frame)
        else:
            # Others' frames fill the queue.
            dropped += offer.number
            if offer.gap is not None:
                self.size += leave_gap(queue, int(self._partial), offer)
        if dropped:
            self._owner.skipped(dropped)

    def _exceeds(self, size: int) -> bool:
        """Whether a frame of this size would be above the limit."""
        assert self._queue is not None
        return self.size > 0 and self.size + OVERHEAD * len(self._queue) + size > self.limit + self._allowed

    def sent(self, frame: bytes, count: int, several: bool = False) -> None:
        """The fan-out has written `count` bytes of a frame to `fd`: queue the rest."""
        self._traffic.bytes_out += count
        self._keep(frame, count, several)

    def _keep(self, frame: bytes, count: int, several: bool = False) -> None:
        """The socket has taken `count` bytes of a frame: queue the rest."""
        assert self._wire is not None
        self._partial = count > 0
        self._queue = deque((memoryview(frame)[count:],))
        self._owner.fd = -1
        self.size = len(frame) - count
        self._wire.when_writable(self._write_queue)
        if several and self.size > self.limit + self._allowed:
            self._owner.overflow()

    def seal(self, last: bytes, *, only: bool = False) -> None:
        """Queue the last frame, a Close. Nothing is accepted after it (RFC 6455 5.5.1). What is on hold is dropped.

        Args:
            only: drop the frames that still wait as well. The rest of a half-sent frame must be sent first.
        """
        if self._sealed:
            return
        held, self._held = self._held is not None, None
        if only and self._queue:
            kept = [self._queue[0]] if self._partial else []
            self._queue = deque(kept)
            self.size = sum(len(piece) for piece in kept)
        if self._queue is not None:
            self._queue.append(last)
            self.size += len(last)
        else:
            self.write(last)
        self._sealed = True
        self._owner.fd = -1
        if held and not self.corked:
            self._write_queue()

    def end(self) -> None:
        """Send FIN when the queue is empty."""
        self._ending = True
        if self._queue is None and self._wire is not None:
            self._wire.shutdown()

    def _write_queue(self) -> None:
        """Called when the socket is writable."""
        wire, queue = self._wire, self._queue
        if wire is None or queue is None:
            return
        self.corked = False
        while queue:
            try:
                sent = wire.sendmsg(list(islice(queue, MAX_PIECES)))
            except BlockingIOError:
                wire.when_writable(self._write_queue)
                return
            except OSError:
                self.discard()
                return
            self.size -= sent
            self._traffic.bytes_out += sent
            self.moved = True
            while sent:
                length = len(queue[0])
                if sent < length:
                    queue[0] = memoryview(queue[0])[sent:]
                    self._partial = True
                    break
                queue.popleft()
                self._partial = False
                sent -= length
        wire.stop_writing()
        self._allowed = 0
        if self._held is None:
            self._queue = None
            if self._direct and not self._sealed:
                self._owner.fd = wire.fd
        if self._ending:
            wire.shutdown()

    def discard(self) -> None:
        """The connection is over: drop what waits, and accept nothing more."""
        self._sealed = True
        self._queue = deque()
        self._held = None
        self._owner.fd = -1
        self.size = 0
        if self._wire is not None:
            self._wire.stop_writing()
