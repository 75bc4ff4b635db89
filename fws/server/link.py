"""The private connection between a process and its successor, on the same machine."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterable
from typing import Any

import gevent
import msgspec
from gevent.event import Event

from fws.histories.memory import Kept, packed, unpacked
from fws.pipeline.publication import Publication

logger = logging.getLogger("fws")

# The most bytes that wait. Publications are never dropped here: the connection ends.
MOST = 64 * 1024 * 1024
# The most bytes of one frame.
LARGEST = 1 << 30
_LENGTH = struct.Struct("!I")


class Carried(msgspec.Struct, frozen=True, array_like=True):
    """A publication on its way."""

    channel: str | None
    kind: str
    payload: bytes
    sender: str | None
    exclude: str | None
    hops: int
    epoch: str
    offset: int
    info: dict[str, Any] | None
    trace: str

    @classmethod
    def of(cls, publication: Publication) -> Carried:
        """Raises TypeError if the message cannot be written as JSON."""
        one = publication
        kind, payload = packed(one.message)
        position = (one.epoch, one.offset)
        return cls(one.channel, kind, payload, one.sender, one.exclude, one.hops, *position, one.info, one.trace)

    @property
    def publication(self) -> Publication:
        message = unpacked(self.kind, self.payload)
        one = Publication(self.channel, message, self.sender, self.exclude, self.hops, "node")
        return one.replace(offset=self.offset, epoch=self.epoch, info=self.info, trace=self.trace)


class Frame(msgspec.Struct, frozen=True, array_like=True):
    """What one process tells the other.

    Attributes:
        what: from the old process: `kept` channel by channel, then `begin`; `number`, a publication that gets its
            number from the new one; `remove`, to forget the publications of a channel. From the new process:
            `numbered`, and `answer` when that is done. From both: `plain`, a publication without a number.
        number: of the publication among those that the old process lets be numbered.
    """

    what: str
    number: int = 0
    carried: Carried | None = None
    kept: Kept | None = None
    epoch: str = ""
    offset: int = 0
    channel: str = ""


# JSON, because what is shown about a sender may have integers of any size, which MessagePack cannot carry.
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Frame).decode


class Link:
    """Carries frames in order, both ways. No call blocks, except `flush`.

    Args:
        connection: a connected stream socket.
        heard: called for each frame.
        ended: called once, when the connection has ended for a reason other than `close`. Its argument says whether
            this side has given it up, so that the other process may go on.
        first: frames that are sent before all others. Each is encoded in a turn of the loop of its own.
    """

    def __init__(
        self,
        connection: Any,
        heard: Callable[[Frame], None],
        ended: Callable[[bool], None],
        first: Iterable[Frame] = (),
    ) -> None:
        self._socket = connection
        self._heard = heard
        self._ended = ended
        self._waiting: list[bytes] = []
        self._size = 0
        self._more = Event()
        self._empty = Event()
        self.is_open = True
        self._greenlets = [gevent.spawn(self._write, first), gevent.spawn(self._read)]

    def send(self, frame: Frame) -> None:
        """Send a frame. If too much waits, the connection ends."""
        if not self.is_open:
            return
        data = _encode(frame)
        if self._size + len(data) > MOST:
            logger.error("the other process does not read: the link is given up")
            self._break(gives_up=True)
            return
        self._waiting += (_LENGTH.pack(len(data)), data)
        self._size += len(data)
        self._empty.clear()
        self._more.set()

    def copy(self, publication: Publication) -> None:
        """Send a publication that gets no number. Raises TypeError if it cannot be written as JSON."""
        self.send(Frame("plain", carried=Carried.of(publication)))

    def flush(self, timeout: float) -> None:
        """Wait until everything has been written, but not longer than so many seconds."""
        self._empty.wait(timeout)

    def close(self) -> None:
        """End the connection."""
        self.is_open = False
        gevent.killall(self._greenlets, block=False)
        self._socket.close()

    def _break(self, *, gives_up: bool = False) -> None:
        if self.is_open:
            self.is_open = False
            gevent.spawn(self._end, gives_up)

    def _end(self, gives_up: bool) -> None:
        self.close()
        self._ended(gives_up)

    def _write(self, first: Iterable[Frame]) -> None:
        try:
            for frame in first:
                data = _encode(frame)
                self._socket.sendall(_LENGTH.pack(len(data)) + data)
                gevent.sleep(0)
            if not self._waiting:
                self._empty.set()
            while True:
                self._more.wait()
                self._more.clear()
                waiting, self._waiting, size = self._waiting, [], self._size
                self._socket.sendall(b"".join(waiting))
                self._size -= size
                if not self._waiting:
                    self._empty.set()
        except OSError:
            self._break()
        except Exception as error:  # what is kept cannot be encoded: the other process would wait in vain
            self._failed(error)

    def _read(self) -> None:
        try:
            while True:
                (length,) = _LENGTH.unpack(self._receive(_LENGTH.size))
                if length > LARGEST:
                    raise ValueError("a frame is too long")
                self._heard(_decode(self._receive(length)))
        except OSError:
            self._break()
        except Exception as error:  # also a fault in `heard`: the processes would not agree any more
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        logger.error("the link failed: %s: %s", type(error).__name__, error, extra={"error": error})
        self._break(gives_up=True)

    def _receive(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            piece = self._socket.recv(min(count - len(data), 1 << 20))
            if not piece:
                raise OSError("the other process has ended")
            data += piece
        return bytes(data)
