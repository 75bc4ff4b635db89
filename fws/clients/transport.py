"""A client's TCP connection after the handshake: the raw non-blocking socket and its two watchers.

Nothing blocks here. gevent's own socket is not used any more: each call of its `send` and `recv` costs a microsecond
more, and two greenlets in its `sendall` tear a frame or raise.
"""

from __future__ import annotations

import _socket
import socket
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

from gevent import get_hub

from fws.clients.host import Lease
from fws.wire import native

READABLE, WRITABLE = 1, 2
# One receive buffer for all clients: what it holds is copied out before anyone else reads. A new buffer of this size
# for each read would cost the allocator half a microsecond.
MAX_READ = 256 * 1024
receive_buffer = memoryview(bytearray(MAX_READ))
_RESET = struct.pack("ii", 1, 0)
# Of Linux's `struct tcp_info`: tcpi_unacked, tcpi_bytes_acked, tcpi_notsent_bytes, and how much of it holds them.
_TCP_INFO = struct.Struct("24x I 92x Q 16x I")


class Transport:
    """Owns the socket. `send` and `sendmsg` never wait: they raise BlockingIOError when nothing can be taken.

    Attributes:
        fd: the descriptor, for who reads or writes past the transport; -1 where bytes may not go past it.
    """

    __slots__ = ("_closed", "_io_read", "_io_write", "_lease", "_socket", "fd", "receive", "send", "sendmsg")

    def __init__(self, sock: socket.socket, lease: Lease | None = None) -> None:
        """Take the descriptor out of `sock`, a gevent or standard stream socket, which is unusable afterwards.

        Args:
            lease: given back when the connection is closed.
        """
        self._lease = lease
        family, proto = sock.family, sock.proto  # `type` asks the kernel
        self._socket = _socket.socket(family, socket.SOCK_STREAM, proto, fileno=sock.detach())
        self._socket.setblocking(False)
        if family != socket.AF_UNIX:
            # Small frames must not wait for the acknowledgement of the ones before.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fd = self._socket.fileno()
        self._io_read = get_hub().loop.io(self.fd, READABLE)
        self._io_write: Any = None
        self._closed = False
        self._choose()

    @property
    def waits(self) -> bool:
        """Whether bytes that were taken have not been given to the socket yet."""
        return False

    def arrived(self) -> int:
        """How many bytes have reached the peer's machine so far, as long as it lacks others; 0 when it lacks none.

        The kernel takes megabytes and says that it takes more only when a third of them is gone.
        """
        try:
            info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        except (OSError, AttributeError):  # a UNIX socket, or a system that does not tell
            return 0
        if len(info) < _TCP_INFO.size:
            return 0
        unacknowledged, arrived, unsent = _TCP_INFO.unpack(info)
        return arrived if unacknowledged or unsent else 0

    def claim(self, user: str) -> None:
        """The connection is this user's, from now on. Raises Refusal when they have too many."""
        if self._lease is not None:
            self._lease.claim(user)

    def _choose(self) -> None:
        """Set how bytes come and go."""
        self.receive: Callable[[int], bytes | None] = (
            partial(native.receive, self.fd) if native.receive else self._receive
        )
        """At most so many bytes (up to `MAX_READ`); empty at the stream's end, however it ended; None for none yet."""
        self.send: Callable[[Any], int] = self._socket.send
        self.sendmsg: Callable[[Any], int] = self._socket.sendmsg

    def _receive(self, most: int) -> bytes | None:
        try:
            return bytes(receive_buffer[: self._socket.recv_into(receive_buffer, most)])
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def start_reading(self, callback: Callable[[], None]) -> None:
        """Call `callback` in the loop whenever there are bytes, or the end of the stream, until `stop_reading`.

        The watcher stays on from one read to the next: to start and stop it for each costs 2 µs.
        """
        if not self._closed:
            self._io_read.start(callback)

    def stop_reading(self) -> None:
        """Leave bytes where they are: TCP's own flow control takes over."""
        self._io_read.stop()

    def when_writable(self, callback: Callable[[], None]) -> None:
        """Call `callback` in the loop whenever the socket can take bytes, until `stop_writing`."""
        if not self._closed and self._io_write is None:
            self._io_write = get_hub().loop.io(self._socket.fileno(), WRITABLE)
            self._io_write.start(callback)

    def stop_writing(self) -> None:
        """The outbox is empty: forget the write watcher, most clients never need one again."""
        if self._io_write is not None:
            self._io_write.stop()
            self._io_write.close()
            self._io_write = None

    def shutdown(self) -> None:
        """Say that nothing more will be sent (FIN); the peer's bytes are still read, so that it is not reset."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def abort(self) -> None:
        """End TCP now, unsent bytes are lost. Who reads gets the end of the stream."""
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self) -> None:
        """Give the descriptor back. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self.stop_writing()
        self.stop_reading()
        self._io_read.close()
        self._socket.close()
        if self._lease is not None:
            self._lease.leave()
