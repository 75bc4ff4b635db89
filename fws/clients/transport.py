"""A client's TCP connection after the handshake: the raw non-blocking socket and its two watchers, with TLS or without.

Nothing waits here. gevent's own socket is left behind: of its `send` and `recv` each call costs a microsecond more,
and two greenlets in its `sendall` tear a frame or raise.
"""

from __future__ import annotations

import _socket
import socket
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

from gevent import get_hub, ssl

from fws.clients.host import Lease
from fws.wire import native

READABLE, WRITABLE = 1, 2
# One receive buffer for all clients: what it holds is copied out before anyone else reads. A new buffer of this size
# for each read would cost the allocator half a microsecond.
MAX_READ = 256 * 1024
_buffer = memoryview(bytearray(MAX_READ))
_RESET = struct.pack("ii", 1, 0)
# Of Linux's `struct tcp_info`: tcpi_unacked, tcpi_bytes_acked, tcpi_notsent_bytes, and how much of it holds them.
_TCP_INFO = struct.Struct("24x I 92x Q 16x I")
# The most that one TLS record carries (RFC 8446 5.1).
RECORD = 16 * 1024
_UNREADY = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


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
            return bytes(_buffer[: self._socket.recv_into(_buffer, most)])
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


class TlsTransport(Transport):
    """The same over TLS.

    OpenSSL goes by records. One that it has encrypted and the socket has not taken must be the next it is given again,
    to the byte, or the connection is lost. So a record that is under way is *held* here and counts as taken: what the
    outbox does with the frames behind it cannot tear one. And what OpenSSL has decrypted and nobody has read yet makes
    no socket readable: a timer calls for it.
    """

    __slots__ = (
        "_again",
        "_blocked",
        "_callback",
        "_ended",
        "_ending",
        "_finished",
        "_held",
        "_kept",
        "_tls",
        "_wanted",
    )

    def __init__(self, sock: ssl.SSLSocket, lease: Lease | None = None) -> None:
        """Take TLS and the descriptor out of gevent's socket, whose handshake is done."""
        # gevent gives them no public names. OpenSSL's object refers to its Python socket, and only weakly.
        self._tls, self._kept = sock._sslobj, sock._sock
        self._held = b""
        self._wanted: Callable[[], None] | None = None
        self._callback: Callable[[], None] | None = None
        self._again: Any = None
        self._blocked = False
        self._ended = False
        self._ending = False
        self._finished = False
        super().__init__(sock, lease)

    def _choose(self) -> None:
        self.fd = -1
        self.receive = self._decrypt
        self.send = self._encrypt
        self.sendmsg = self._encrypt_first

    @property
    def waits(self) -> bool:
        return bool(self._held)

    # Reading.

    def _decrypt(self, most: int) -> bytes | None:
        if self._finished:
            return self._drain()
        got = 0
        try:
            while got < most:
                count = self._tls.read(most - got, _buffer[got:most])
                got += count
                if not count:
                    self._ended = True
                if count < RECORD:
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLWantWriteError:
            # An answer of TLS itself, to a change of keys, must go out before anything more is read.
            self._blocked = True
            self._io_read.stop()
            self._watch()
        except OSError:
            self._ended = True
        if not got:
            return b"" if self._ended else None
        self._call_again()
        return bytes(_buffer[:got])

    def _drain(self) -> bytes | None:
        """After our close_notify: nothing of what still comes is decrypted."""
        try:
            return None if self._socket.recv_into(_buffer) else b""
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _call_again(self) -> None:
        """Have the reader called for what the socket has no more of."""
        if self._callback is not None and (self._ended or self._tls.pending()):
            if self._again is None:
                self._again = get_hub().loop.timer(0.0)
            self._again.start(self._read_on)

    def _read_on(self) -> None:
        if self._callback is not None:
            self._callback()

    def start_reading(self, callback: Callable[[], None]) -> None:
        super().start_reading(callback)
        if not self._closed:
            self._callback = callback
            self._call_again()

    def stop_reading(self) -> None:
        super().stop_reading()
        self._callback = None
        if self._again is not None:
            self._again.stop()
            self._again.close()
            self._again = None

    # Writing.

    def _encrypt(self, data: bytes | memoryview) -> int:
        if self._held and not self._flush():
            raise BlockingIOError
        sent, length = 0, len(data)
        while sent < length:
            record = data if length <= RECORD else memoryview(data)[sent : sent + RECORD]
            try:
                self._tls.write(record)
            except _UNREADY:
                self._held = bytes(record)
                self._watch()
                return sent + len(record)
            sent += len(record)
        return sent

    def _encrypt_first(self, pieces: list[bytes | memoryview]) -> int:
        """Of several pieces as many as fill a record: small frames share one."""
        taken, size = [], 0
        for piece in pieces:
            taken.append(piece)
            size += len(piece)
            if size >= RECORD:
                break
        return self._encrypt(taken[0] if len(taken) == 1 else b"".join(taken))

    def _flush(self) -> bool:
        """Give OpenSSL the held record again. Whether the socket has taken it now."""
        try:
            self._tls.write(self._held)
        except _UNREADY:
            return False
        self._held = b""
        return True

    def _watch(self) -> None:
        if self._io_write is None:
            super().when_writable(self._writable)

    def _writable(self) -> None:
        """In the loop: first the held record, then what the outbox has."""
        try:
            if self._held and not self._flush():
                return
        except OSError:
            self._held = b""
            self._ending = False
            self.abort()
        if self._blocked:
            self._blocked = False
            if self._callback is not None:
                self._io_read.start(self._callback)
                self._callback()
        if self._wanted is not None:
            self._wanted()
        elif not self._held:
            super().stop_writing()
            if self._ending:
                self.shutdown()

    def when_writable(self, callback: Callable[[], None]) -> None:
        self._wanted = callback
        self._watch()

    def stop_writing(self) -> None:
        self._wanted = None
        if not self._held or self._closed:
            super().stop_writing()

    def shutdown(self) -> None:
        """Say so in TLS (close_notify) and in TCP, when what was taken is out."""
        self._ending = True
        if self._held or self._finished:
            return
        self._finished = True
        end_tls(self._tls)
        super().shutdown()


def end_tls(tls: Any) -> None:
    """Send close_notify, without waiting for the peer's."""
    try:
        tls.shutdown()
    except OSError:  # it waits for the peer's, or the connection is gone
        pass
