"""A client's connection over TLS.

`Transport` binds `receive`, `send` and `sendmsg` as attributes in `_choose`, which saves a call per message. Here they
are bound to `_decrypt`, `_encrypt` and `_encrypt_first`.
"""

from __future__ import annotations

import _socket
import socket
from collections.abc import Callable
from typing import Any

from gevent import get_hub, ssl

from fws.clients.host import Lease
from fws.clients.transport import Transport, receive_buffer

# The most bytes of one TLS record (RFC 8446 5.1).
RECORD = 16 * 1024
_UNREADY = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


class TlsTransport(Transport):
    """A transport whose bytes are encrypted.

    OpenSSL works in records, which has two consequences. If the socket does not accept an encrypted record, OpenSSL
    must be given the same bytes again next; otherwise the connection is lost. Such a record is *held* here and counts
    as accepted, so that nothing the outbox does with later frames can come between. And bytes that OpenSSL has
    decrypted and that were not read yet do not make the socket readable, so that a timer calls the reader.
    """

    __slots__ = (
        "_again",
        "_blocked",
        "_callback",
        "_ended",
        "_ending",
        "_finished",
        "_held",
        "_tls",
        "_wanted",
    )

    def __init__(self, sock: ssl.SSLSocket, lease: Lease | None = None) -> None:
        """Take the TLS object and the descriptor out of gevent's socket, whose handshake is complete."""
        self._tls = sock._sslobj  # gevent has no public name for it
        self._held = b""
        self._wanted: Callable[[], None] | None = None
        self._callback: Callable[[], None] | None = None
        self._again: Any = None
        self._blocked = False
        self._ended = False
        self._ending = False
        self._finished = False
        super().__init__(sock, lease)

    def _take(self, sock: Any) -> Any:
        # OpenSSL's object has a weak reference to this socket object, and sends no close_notify if the object has no
        # descriptor. Therefore the object gets the descriptor back that gevent has detached from it.
        kept, family, proto = sock._sock, sock.family, sock.proto
        _socket.socket.__init__(kept, family, socket.SOCK_STREAM, proto, sock.detach())
        return kept

    def _choose(self) -> None:
        self.fd = -1
        self.receive = self._decrypt
        self.send = self._encrypt
        self.sendmsg = self._encrypt_first

    @property
    def waits(self) -> bool:
        return bool(self._held) or (self._ending and not self._finished)

    # Reading.

    def _decrypt(self, most: int) -> bytes | None:
        if self._finished:
            return self._drain()
        got = 0
        try:
            while got < most:
                count = self._tls.read(most - got, receive_buffer[got:most])
                got += count
                if not count:
                    self._ended = True
                if count < RECORD:
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLWantWriteError:
            # TLS itself must send something, such as the answer to a key update, before it can read more.
            self._blocked = True
            self._io_read.stop()
            self._watch()
        except OSError:
            self._ended = True
        if not got:
            return b"" if self._ended else None
        self._call_again()
        return bytes(receive_buffer[:got])

    def _drain(self) -> bytes | None:
        """After our close_notify: read what still arrives without decrypting it."""
        try:
            return None if self._socket.recv_into(receive_buffer) else b""
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _call_again(self) -> None:
        """Let a timer call the reader for bytes that OpenSSL has already taken from the socket."""
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
        """Encrypt as many of the pieces as fill a record, so that small frames share one."""
        taken, size = [], 0
        for piece in pieces:
            taken.append(piece)
            size += len(piece)
            if size >= RECORD:
                break
        return self._encrypt(taken[0] if len(taken) == 1 else b"".join(taken))

    def _flush(self) -> bool:
        """Give OpenSSL the held record again. Returns whether the socket has accepted it now."""
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
        """In the loop: write the held record first, and then what the outbox has."""
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
            return
        if self._ending:
            self.shutdown()
        self.stop_writing()

    def when_writable(self, callback: Callable[[], None]) -> None:
        self._wanted = callback
        self._watch()

    def stop_writing(self) -> None:
        self._wanted = None
        # Without the watcher, TLS itself could not go on: with its record, its close_notify, or an answer of its own.
        if self._closed or not (self.waits or self._blocked):
            super().stop_writing()

    def shutdown(self) -> None:
        """Send close_notify and FIN when everything that was accepted has been written."""
        self._ending = True
        if self._held or self._finished:
            return
        try:
            self._tls.shutdown()
        except ssl.SSLWantWriteError:
            self._watch()  # the socket is full: `_writable` tries again
            return
        except OSError:  # the peer's close_notify is missing, or the connection is gone
            pass
        self._finished = True
        super().shutdown()


def end_tls(tls: Any) -> None:
    """Send close_notify without waiting for the peer's."""
    try:
        tls.shutdown()
    except OSError:  # the peer's close_notify is missing, or the connection is gone
        pass
