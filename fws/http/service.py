"""An HTTP service that fws asks: pooled connections, and limits on time, size and number of requests."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

import gevent
from gevent import Timeout
from gevent.lock import BoundedSemaphore

from fws.base.breaker import Breaker
from fws.http.error import HttpError
from fws.http.tls import Tls
from fws.http.url import Url

if TYPE_CHECKING:
    from fws.http.connection import Connection

# Seconds that an unused connection is kept. Servers close theirs after 2 s or more, and a request that is sent at that
# moment would fail: nobody can tell whether the server has seen it.
KEPT = 1.5


class Answer(NamedTuple):
    """An answer of any status.

    Attributes:
        headers: of a repeated header the values are joined by commas; names may have any case.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Service:
    """Asks one URL. Connections are kept and used again. Greenlets may share it.

    A request is sent at most once: it is never repeated, not even if a kept connection turns out to be closed while it
    is sent. Redirects are not followed. Proxies of the environment are not used, and cookies are not kept.

    Args:
        url: where all requests go.
        timeout: seconds for a request with everything that belongs to it: waiting for others, DNS, connecting, TLS,
            and the whole answer, however slowly it arrives.
        limit: the most bytes of an answer's body.
        at_once: the most requests, and so connections, at the same time. Further requests wait.
        trusted: the result of `fws.http.tls.trust`; required for https.
        breaker: suspends requests while the service fails. No answer in time, and a status of 500 or more, is a
            failure. An answer with another status that cannot be used, such as one above `limit`, is not.
    """

    def __init__(
        self,
        url: Url,
        *,
        timeout: float,
        limit: int,
        at_once: int = 100,
        trusted: Tls | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        if (trusted is None) != (url.scheme == "http"):
            raise ValueError("TLS is for https, and needed there")
        from fws.http import connection

        self._connections = connection
        self._url = url
        self._timeout = timeout
        self._limit = limit
        self._trusted = trusted
        self._breaker = breaker
        self._turns = BoundedSemaphore(at_once)
        self._lookup = connection.Lookup(url.host, url.port or (80 if trusted is None else 443))
        # Unused connections and since when, the oldest first.
        self._idle: list[tuple[Connection, float]] = []
        self._tidying: Any = None

    @property
    def busy(self) -> bool:
        """Whether a request would have to wait for another one."""
        return bool(self._turns.locked())

    def ask(self, method: str, headers: Mapping[str, str] | None = None, body: bytes | None = None) -> Answer:
        """Send a request and wait for the answer, whatever its status is. The greenlet blocks.

        Args:
            headers: names in lower case. Values may come from clients; those with line ends are refused.

        Raises:
            HttpError: there is no complete and valid answer within the time and size permitted, or the service was not
                asked. The connection of such a request is closed.
        """
        given = {"accept": "application/json", "user-agent": "fws", **(headers or {}), "accept-encoding": "identity"}
        timeout = Timeout(self._timeout)
        waiting = True
        try:
            # gevent's timeout, because urllib3's is for each step, and begins anew with each byte that arrives.
            with timeout, self._turns:
                waiting = False
                return self._guarded(method, given, body)
        except Timeout as error:
            if error is not timeout:
                raise
            if waiting:
                raise HttpError("too many requests wait for an answer", "busy") from None
            raise self._late() from None
        except HttpError:
            raise
        except self._connections.LATE:
            raise self._late() from None
        except self._connections.FAILURES as error:
            raise HttpError(self._connections.reason(error)) from None

    def close(self) -> None:
        """Close the unused connections. The service can still be asked."""
        for connection, _ in self._idle:
            connection.close()
        self._idle.clear()

    def _late(self) -> HttpError:
        return HttpError(f"no answer within {self._timeout:g} s")

    def _guarded(self, method: str, headers: dict[str, str], body: bytes | None) -> Answer:
        if self._breaker is None:
            return self._ask(method, headers, body)
        if not self._breaker.allows():
            raise HttpError("not asked, because it has failed several times", "paused")
        heard = False
        try:
            answer = self._ask(method, headers, body)
            # A client can be the cause of an answer such as 400. This must not suspend the requests for others.
            heard = answer.status < 500
            return answer
        except HttpError as error:
            # Neither must an answer that is too large because the client's message was.
            heard = error.cause == "invalid"
            raise
        finally:
            # Also if something else ends the wait, such as the time limit of a handshake.
            if heard:
                self._breaker.succeeded()
            else:
                self._breaker.failed()

    def _ask(self, method: str, headers: dict[str, str], body: bytes | None) -> Answer:
        connection = self._take()
        try:
            response, read = connection.exchange(method, self._url.target, headers, body, self._limit)
        except BaseException:
            connection.close()
            raise
        # After an interim response, such as 103, the final one would be taken for the answer to the next request.
        if response.status < 200:
            connection.close()
            raise HttpError(f"status {response.status}")
        self._keep(connection)
        return Answer(response.status, response.headers, read)

    def _take(self) -> Connection:
        """A connection that is open, as far as can be known, or a new one."""
        self._tidy()
        while self._idle:
            connection, _ = self._idle.pop()
            # It is not if the server has closed it, or has sent what nobody asked for.
            if connection.is_connected:
                return connection
            connection.close()
        context = None if self._trusted is None else self._trusted.context()
        return self._connections.connection_to(self._url, self._lookup, self._timeout, context)

    def _keep(self, connection: Connection) -> None:
        if connection.sock is None:
            return  # the server has announced that it closes it
        self._idle.append((connection, monotonic()))
        if self._tidying is None:
            self._tidying = gevent.spawn_later(KEPT, self._tidy_later)

    def _tidy(self) -> None:
        oldest = monotonic() - KEPT
        while self._idle and self._idle[0][1] < oldest:
            self._idle.pop(0)[0].close()

    def _tidy_later(self) -> None:
        self._tidy()
        self._tidying = gevent.spawn_later(KEPT, self._tidy_later) if self._idle else None
