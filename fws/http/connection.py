"""Connections to HTTP services: urllib3's, which wait as greenlets do, and whose answers are bounded.

fws imports urllib3 here only, and this module only when a service is used, because urllib3 takes 40 ms to load.
"""

from __future__ import annotations

import http.client
import io
import logging
import ssl
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

import gevent
from gevent import socket
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, ProtocolError, TimeoutError
from urllib3.response import BaseHTTPResponse

from fws.http.error import HttpError
from fws.http.tls import Trust
from fws.http.url import Url

__all__ = ["FAILURES", "LATE", "Connection", "Lookup", "connection_to", "reason"]

# urllib3 would log a warning with a traceback for each invalid header in an answer.
logging.getLogger("urllib3.connection").setLevel(logging.ERROR)

# What the methods of a connection raise. Some are raised through urllib3, and some by what it is made of.
FAILURES = (OSError, http.client.HTTPException, HTTPError, ValueError)
LATE = (socket.timeout, TimeoutError)

# The most bytes of a response head.
HEAD = 64 * 1024


class Lookup:
    """Looks up the addresses of a host, once for all who ask at the same time.

    gevent looks up names in ten native threads, which the whole process shares. A look-up cannot be interrupted, and
    takes up to half a minute while the DNS does not answer. Each service therefore has at most one under way.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._under_way: Any = None

    def addresses(self) -> list[Any]:
        """What `getaddrinfo` returns. Raises OSError or ValueError. The greenlet waits."""
        if self._under_way is None:
            self._under_way = gevent.spawn(self._look_up)
        found, error = self._under_way.get()
        if error is not None:
            raise error
        return list(found)

    def _look_up(self) -> tuple[list[Any], Exception | None]:
        try:
            return socket.getaddrinfo(self._host, self._port, 0, socket.SOCK_STREAM), None
        except (OSError, ValueError) as error:
            return [], error
        finally:
            self._under_way = None


class Connection:
    """What fws changes in urllib3's connections."""

    lookup: Lookup
    timeout: float
    response_class: Callable[..., http.client.HTTPResponse]

    def _new_conn(self) -> Any:
        """Connect. An address that does not respond leaves an equal share of the time to each of the others."""
        addresses = self.lookup.addresses()
        last: OSError = OSError("the host has no address")
        for family, kind, protocol, _, address in addresses:
            peer = socket.socket(family, kind, protocol)
            try:
                peer.settimeout(self.timeout / len(addresses))
                peer.connect(address)
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                peer.settimeout(self.timeout)
                return peer
            except OSError as error:
                peer.close()
                last = error
            except BaseException:
                peer.close()
                raise
        raise last

    def exchange(
        self, method: str, target: str, headers: dict[str, str], body: bytes | None, limit: int
    ) -> tuple[BaseHTTPResponse, bytes]:
        """Send one request and read the whole answer. Returns the response and its body.

        The body is as the server has sent it: no compression is accepted, and none is undone.

        Raises:
            HttpError: the answer is too long, was cut short, or is compressed. Its cause is `invalid` if there is a
                status of 200 to 499: the service has answered, in a way that cannot be used.
            LATE: a step has taken too long.
            FAILURES: anything else is wrong.
        """
        # Besides the body there are the frames of its chunks, which are longer than the chunks of a strange server.
        self.response_class = partial(_Answer, room=HEAD + 2 * limit)
        self.request(method, target, body, headers, preload_content=False, decode_content=False)
        # Closed in any case, because a response whose end is the end of the connection owns the socket.
        with closing(self.getresponse()) as response:
            try:
                return response, _read(response, limit)
            except LATE:
                raise
            except (HttpError, *FAILURES) as error:
                if not 200 <= response.status < 500:
                    raise
                why = str(error) if isinstance(error, HttpError) else reason(error)
                raise HttpError(why, "invalid", response.status) from None

    # Of urllib3's classes.
    request: Callable[..., None]
    getresponse: Callable[[], BaseHTTPResponse]
    close: Callable[[], None]
    sock: Any
    is_connected: bool


def _read(response: BaseHTTPResponse, limit: int) -> bytes:
    """The body of a response. Raises what `Connection.exchange` raises."""
    read = bytearray()
    while len(read) <= limit and (piece := response.read(limit + 1 - len(read))):
        read += piece
    if len(read) > limit:
        raise HttpError(f"the answer has more than {limit} bytes")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise HttpError("the answer is compressed, which was not asked for")
    # Python's client takes a head that ends early for a whole one. Such an answer must not pass for an empty 200.
    framed = "content-length" in response.headers or "transfer-encoding" in response.headers
    if response.status == 200 and not read and not framed:
        raise HttpError("the answer was cut short")
    return bytes(read)


class _Plain(Connection, HTTPConnection):  # type: ignore[misc]
    pass


class _Secure(Connection, HTTPSConnection):  # type: ignore[misc]
    pass


def connection_to(url: Url, lookup: Lookup, timeout: float, trusted: Trust | None) -> Connection:
    """A connection that connects with its first request.

    Args:
        timeout: seconds for each step; whoever uses the connection limits the whole.
    """
    made = (
        _Plain(url.host, url.port, timeout=timeout)
        if trusted is None
        else _Secure(url.host, url.port, timeout=timeout, ssl_context=trusted)
    )
    made.lookup = lookup
    return made


def reason(error: BaseException) -> str:
    """Why a request has failed with one of `FAILURES`, in a few words. What urllib3 says has addresses of objects."""
    if isinstance(error, http.client.RemoteDisconnected):
        return "the connection was closed without an answer"
    if isinstance(error, http.client.IncompleteRead | ProtocolError):
        return "the answer was cut short"
    if isinstance(error, http.client.HTTPException):
        return "the answer is not valid HTTP"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'failed'}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


class _Answer(http.client.HTTPResponse):
    """A response that is read with a limit on all its bytes, those of the head and between chunks included.

    `http.client` itself reads any number of interim responses and trailers.
    """

    def __init__(self, peer: Any, *arguments: Any, room: int, **options: Any) -> None:
        super().__init__(peer, *arguments, **options)
        self.fp: Any = io.BufferedReader(_Bounded(self.fp.detach(), room))


class _Bounded(io.RawIOBase):
    def __init__(self, raw: Any, room: int) -> None:
        self._raw = raw
        self._room = room
        self._begun = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._begun:
            # While bytes keep arriving, reading never waits, and nobody else would have a turn; nor would the timeout.
            gevent.sleep(0)
        self._begun = True
        count: int = self._raw.readinto(buffer)
        self._room -= count
        if self._room < 0:
            raise HttpError("the answer is too long")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
