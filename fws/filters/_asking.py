"""The base of filters that ask an HTTP service: their common options, and what they pass on to it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta

from fws import Client, Duration, Filter, Help
from fws.auth.credential import Denied, unavailable
from fws.base.breaker import Breaker
from fws.base.novelty import Novelty
from fws.http.error import HttpError
from fws.http.service import Service
from fws.http.tls import CA, CERT, KEY, trust
from fws.http.url import Url
from fws.pipeline.component import Setting

logger = logging.getLogger("fws")

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
# They say how one request is framed and sent, which a client must not decide about a request to the service.
_NOT_PASSED = frozenset(
    ("connection", "content-encoding", "content-length", "expect", "host", "keep-alive", "te", "trailer", "upgrade")
)


class Asking(Filter, kw_only=True):
    """Asks an HTTP service. A subclass has the option `url`, and calls `open` in `prepare`."""

    timeout: Annotated[
        Duration, Meta(gt=0), Help("For a request with everything that belongs to it: DNS, TLS, the whole answer.")
    ] = 2.0
    failures: Annotated[int, Meta(ge=1), Help("Failures in a row after which requests are suspended.")] = 5
    pause: Annotated[Duration, Meta(gt=0), Help("Time for which requests are suspended.")] = 10.0
    at_once: Annotated[int, Meta(ge=1), Help("The most requests to the service at the same time.")] = 100
    ca: Annotated[str, Help(CA)] = ""
    cert: Annotated[str, Help(CERT)] = ""
    key: Annotated[str, Help(KEY)] = ""

    def open(self, url: Url, setting: Setting, limit: int) -> Service:
        """The service, to which no connection is made yet.

        Args:
            limit: the most bytes of an answer.

        Raises:
            ValueError: a certificate cannot be used.
        """
        ca, cert, key = (setting.folder / name if name else None for name in (self.ca, self.cert, self.key))
        self._novelty = Novelty(self.clock)
        self._service = Service(
            url,
            timeout=self.timeout,
            limit=limit,
            at_once=self.at_once,
            trusted=trust(url, ca, cert, key),
            breaker=Breaker(self.failures, self.pause, self.clock),
        )
        return self._service

    def stop(self) -> None:
        self._service.close()

    def complain(self, url: Url, error: HttpError, event: str, client: Client | None) -> None:
        """Log why a request has failed. A reason has one line in a minute; the level `debug` shows all."""
        level = logging.WARNING if self._novelty.is_new(str(error)) else logging.DEBUG
        if logger.isEnabledFor(level):
            extra = {"event": event, "client": "" if client is None else client.id}
            if level == logging.DEBUG:
                extra["cause"] = extra["client"]
            # Without the query, which may contain secrets.
            logger.log(level, "the service at %s: %s", str(url).partition("?")[0], error, extra=extra)


def undecided(error: HttpError) -> Denied:
    """How a client is refused about whom the service has not decided. An invalid answer decides as little as none."""
    return unavailable("unavailable" if error.cause == "invalid" else error.cause)


def passed(names: Iterable[str]) -> tuple[str, ...]:
    """The names of headers that may be passed to a service, in lower case.

    Raises:
        ValueError: one is not the name of a header, or is about the connection to the client.
    """
    lower = tuple(name.lower() for name in names)
    for name in lower:
        if name.startswith("whsec_"):
            raise ValueError("headers: a secret is written as secret=whsec_…")
        if not _NAME.fullmatch(name):
            raise ValueError(f"headers: {name!r} is not the name of a header")
        if name in _NOT_PASSED or name.startswith(("proxy-", "transfer-")):
            raise ValueError(f"headers: {name} is about one connection, and cannot be passed on")
    return lower


def given(client: Client, names: Iterable[str]) -> dict[str, str]:
    """Those of a client's request headers."""
    headers = client.request.headers
    return {name: headers[name] for name in names if name in headers}
