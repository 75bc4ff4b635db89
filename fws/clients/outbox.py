"""The outbox: the bounded bytes that wait to be written to one client, and the only one that writes to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Protocol

# What a queued frame takes beside its bytes: without it, a bound of 1 MiB would be 14 MiB of 3-byte pongs.
OVERHEAD = 48
# Held bytes are worth a call of their own: more saves nothing and delays the first.
CORK = 64 * 1024
# Linux takes at most 1,024 pieces in one sendmsg; past a few hundred a larger call gains nothing.
MAX_PIECES = 256


class Wire(Protocol):
    """What an outbox needs of a transport.

    Attributes:
        fd: -1 where bytes may not be sent past it.
        waits: whether it has taken bytes that are not on their way yet.
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
    """Whose outbox it is.

    Attributes:
        fd: kept by the outbox: the descriptor to which a plain frame may be sent right away, by whoever has many such;
            -1 when it must go through `write`. It stands with the owner, as a look at one object more for each
            delivery is 3 % of it.
    """

    fd: int

    def overflow(self) -> None:
        """A frame was not taken, as too much waits."""


class Outbox:
    """Takes whole frames and writes them in order, never torn, never waiting.

    With nothing queued a frame goes to the socket right away, in one non-blocking `send`; what the socket does not
    take is queued and written when it can be. A frame that would take the queue over `limit` bytes is not queued:
    the owner's `overflow` is called instead. A single frame over the limit is taken when nothing else waits.

    Until `open` the frames are held: what a `connect` pipeline sends must follow the 101. Between `cork` and `uncork`
    they are held too, to go out in one call. What comes between `hold` and `release` may never go out at all.

    Attributes:
        size: bytes that wait.
    """

    __slots__ = (
        "_ending",
        "_held",
        "_held_size",
        "_limit",
        "_owner",
        "_partial",
        "_plain",
        "_queue",
        "_sealed",
        "_wire",
        "corked",
        "moved",
        "size",
    )

    def __init__(self, limit: int, owner: Owner) -> None:
        self._limit = limit
        self._owner = owner
        owner.fd = -1
        self._wire: Wire | None = None
        self._queue: deque[bytes | memoryview] | None = deque()
        self._plain = False
        self._held: list[tuple[bytes, bool]] | None = None
        self._held_size = 0
        self._partial = False  # the first of the queue has been sent in part
        self._sealed = False
        self._ending = False
        self.corked = False
        self.moved = False
        self.size = 0

    @property
    def waits(self) -> bool:
        """Whether bytes wait for the peer to take others."""
        return self.size > 0 or (self._wire is not None and self._wire.waits)

    def open(self, wire: Wire, head: bytes = b"", *, plain: bool) -> None:
        """The handshake is done: write what was held, and from now on directly.

        Args:
            head: what goes before all frames.
            plain: whether every receiver's frame is this one's too: no compression, no `deliver` pipeline.
        """
        self._wire = wire
        self._plain = plain
        if head and self._queue is not None:
            self._queue.appendleft(head)
            self.size += len(head)
        self._write_queue()

    def cork(self) -> None:
        """Hold what is written, if nothing waits already."""
        if self._queue is None:
            self._queue = deque()
            self.corked = True
            self._owner.fd = -1

    def uncork(self) -> None:
        """Write what was held since `cork`. Safe to call when nothing is."""
        if self.corked:
            self._write_queue()

    def hold(self) -> None:
        """Keep what is written apart, until it is known whether the client may have it."""
        if self._queue is None:
            self._queue = deque()
            self._owner.fd = -1
        self._held, self._held_size = [], 0

    def release(self) -> None:
        """Write what came since `hold`. Safe to call when nothing is held."""
        if self._held is not None:
            held, self._held = self._held, None
            for frame, several in held:
                self.write(frame, several)
            if not self.corked:
                self._write_queue()

    def write(self, frame: bytes, several: bool = False) -> bool:
        """Send or queue one frame, or `several` joined. False when it will not be sent: sealed, or over the limit."""
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
            if sent != len(frame):
                self.sent(frame, sent, several)
            return True
        if self._held is not None:
            if self._held_size + len(frame) > self._limit and (self._held or several):
                self._owner.overflow()
                return False
            self._held.append((frame, several))
            self._held_size += OVERHEAD + len(frame)
            return True
        if self.size + OVERHEAD * len(self._queue) + len(frame) > self._limit and (self.size or several):
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

    def sent(self, frame: bytes, count: int, several: bool = False) -> None:
        """A frame of which `count` bytes have been sent to `fd`: queue the rest."""
        assert self._wire is not None
        self._partial = count > 0
        self._queue = deque((memoryview(frame)[count:],))
        self._owner.fd = -1
        self.size = len(frame) - count
        self._wire.when_writable(self._write_queue)
        if several and self.size > self._limit:
            self._owner.overflow()

    def seal(self, last: bytes, *, only: bool = False) -> None:
        """Queue the last frame, a Close: nothing is taken after it (RFC 6455 5.5.1). What is held is forgotten.

        Args:
            only: forget the whole frames that still wait. The rest of a half-sent one must go out first.
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
        """Send FIN once everything queued is out."""
        self._ending = True
        if self._queue is None and self._wire is not None:
            self._wire.shutdown()

    def _write_queue(self) -> None:
        """Called when the socket can take bytes."""
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
        if self._held is None:
            self._queue = None
            if self._plain and not self._sealed:
                self._owner.fd = wire.fd
        if self._ending:
            wire.shutdown()

    def discard(self) -> None:
        """Forget what waits and take nothing more: the connection is over."""
        self._sealed = True
        self._queue = deque()
        self._held = None
        self._owner.fd = -1
        self.size = 0
        if self._wire is not None:
            self._wire.stop_writing()
