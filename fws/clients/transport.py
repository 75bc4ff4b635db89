"""A client's TCP connection after the handshake: the raw non-blocking socket and its two watchers.

Nothing blocks here. gevent's own socket is not used any more: its `send` and `recv` take one microsecond longer per
call, and two greenlets in its `sendall` would mix the bytes of two frames, or raise.
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
# One receive buffer for all clients. Its content is copied before the next read. Allocating a new buffer of this size
# for each read would take half a microsecond.
MAX_READ = 256 * 1024
receive_buffer = memoryview(bytearray(MAX_READ))
_RESET = struct.pack("ii", 1, 0)
# The fields tcpi_unacked, tcpi_bytes_acked and tcpi_notsent_bytes of Linux's `struct tcp_info`.
_TCP_INFO = struct.Struct("24x I 92x Q 16x I")


class Transport:
    """Owns the socket. `send` and `sendmsg` never block: they raise BlockingIOError if the socket accepts nothing.

    Attributes:
        fd: the descriptor, for code that reads or writes it directly; -1 if that is not allowed.
        receive: reads at most this many bytes (up to `MAX_READ`). Returns None if there are none yet, and an empty
            result at the end of the stream, however it ended.
        send, sendmsg: as those of a socket.
    """

    __slots__ = ("_closed", "_io_read", "_io_write", "_lease", "_socket", "fd", "receive", "send", "sendmsg")

    def __init__(self, sock: socket.socket, lease: Lease | None = None) -> None:
        """Take the descriptor out of `sock`, a gevent or standard stream socket, which cannot be used afterwards.

        Args:
            lease: ends when the connection is closed.
        """
        self._lease = lease
        self._socket = self._take(sock)
        self._socket.setblocking(False)
        if self._socket.family != socket.AF_UNIX:
            # Small frames must not wait until earlier ones are acknowledged (Nagle's algorithm).
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fd = self._socket.fileno()
        self._io_read = get_hub().loop.io(self.fd, READABLE)
        self._io_write: Any = None
        self._closed = False
        self._choose()

    def _take(self, sock: Any) -> _socket.socket:
        """The descriptor of a socket in an object without gevent's methods."""
        family, proto = sock.family, sock.proto  # `type` asks the kernel
        return _socket.socket(family, socket.SOCK_STREAM, proto, fileno=sock.detach())

    @property
    def waits(self) -> bool:
        """Whether bytes were accepted and have not been given to the socket yet."""
        return False

    def arrived(self) -> int:
        """How many bytes the peer's machine has acknowledged so far; 0 if it has acknowledged all.

        A growing number shows that a slow peer is alive. The outbox does not: the kernel buffers megabytes, and the
        socket becomes writable only when a third of them has been sent.
        """
        try:
            info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        except (OSError, AttributeError):  # a UNIX socket, or a system without TCP_INFO
            return 0
        if len(info) < _TCP_INFO.size:
            return 0
        unacknowledged, arrived, unsent = _TCP_INFO.unpack(info)
        return arrived if unacknowledged or unsent else 0

    def claim(self, user: str) -> None:
        """Count the connection as this user's. Raises Refusal if the user has too many."""
        if self._lease is not None:
            self._lease.claim(user)

    def _choose(self) -> None:
        """Bind `receive`, `send` and `sendmsg`, which saves a call per message."""
        self.receive: Callable[[int], bytes | None] = (
            partial(native.receive, self.fd) if native.receive else self._receive
        )
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
        """Call `callback` in the loop whenever bytes or the end of the stream have arrived, until `stop_reading`.

        The watcher stays active between reads: starting and stopping it for each of them takes 2 µs.
        """
        if not self._closed:
            self._io_read.start(callback)

    def stop_reading(self) -> None:
        """Leave bytes in the kernel, so that TCP's flow control makes the peer wait."""
        self._io_read.stop()

    def when_writable(self, callback: Callable[[], None]) -> None:
        """Call `callback` in the loop whenever the socket is writable, until `stop_writing`."""
        if not self._closed and self._io_write is None:
            self._io_write = get_hub().loop.io(self._socket.fileno(), WRITABLE)
            self._io_write.start(callback)

    def stop_writing(self) -> None:
        """The outbox is empty: close the write watcher. Most clients never need one again."""
        if self._io_write is not None:
            self._io_write.stop()
            self._io_write.close()
            self._io_write = None

    def shutdown(self) -> None:
        """Send FIN. The peer's bytes are still read, so that the connection is not reset."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def abort(self) -> None:
        """End TCP at once. Unsent bytes are lost, and `receive` returns the end of the stream."""
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self) -> None:
        """Close the descriptor. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self.stop_writing()
        self.stop_reading()
        self._io_read.close()
        self._socket.close()
        if self._lease is not None:
            self._lease.leave()
