"""`http_auth`: an HTTP service decides which clients may connect."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from msgspec import Meta

from fws import Client, Duration, Filter, Help
from fws.auth.breaker import Breaker
from fws.auth.credential import Denied, unavailable
from fws.auth.http import CA, HttpError, Url, ask, trust
from fws.auth.login import deny
from fws.pipeline.component import Setting

MAX_IDENTITY = 64 * 1024


class HttpAuth(Filter):
    """Ask an HTTP service whether a client may connect.

    On `connect`. The service gets a GET request with the chosen headers of the client's request, its path in
    `X-Original-URI` (without the query, which may contain secrets), and its address in `X-Forwarded-For`. With the
    status 200 the client is admitted, and the JSON object in the answer, `{"user": "ann", …}`, becomes its identity.
    With 204, or a 200 with `Content-Length: 0`, it is admitted without an identity. With 401 and 403 it is refused with
    the same status.

    In all other cases the client is refused with 503: another status, a redirect, no answer in time, or more than 64
    KiB. Requests are not repeated. An answer that is late or has a status of 500 or more is a failure. After `failures`
    of them in a row, no requests are made for the time of `pause`. Then one client's request tries the service again.

    Example:
        connect = ["http_auth http://127.0.0.1:8000/who headers=authorization,cookie timeout=1s", "join lobby"]
    """

    guards = True

    url: Annotated[Url, Help("The service.")]
    headers: Annotated[tuple[str, ...], Help("Headers of the client's request that are passed to the service.")] = (
        "authorization",
        "cookie",
    )
    timeout: Annotated[Duration, Meta(gt=0), Help("For the whole answer.")] = 2.0
    failures: Annotated[int, Meta(ge=1), Help("Failures in a row after which requests are suspended.")] = 5
    pause: Annotated[Duration, Meta(gt=0), Help("Time for which requests are suspended.")] = 10.0
    at_once: Annotated[
        int, Meta(ge=1), Help("The most clients that wait for the service at the same time; further ones get 503.")
    ] = 100
    ca: Annotated[str, Help(CA)] = ""

    def prepare(self, setting: Setting) -> None:
        self._trusted = trust(self.url, setting.folder / self.ca if self.ca else None)
        self._headers = [name.lower() for name in self.headers]
        self._breaker = Breaker(self.failures, self.pause, self.clock)
        self._asking = 0

    def connect(self, client: Client) -> None:
        try:
            client.identity = self._ask(client)
        except Denied as denied:
            if denied.status == 403:  # every 401 counts as a failed login
                self.services.login_failed(client.address)
            deny(self, denied)

    def _ask(self, client: Client) -> dict[str, Any]:
        if self._asking >= self.at_once:
            raise unavailable("busy")
        if not self._breaker.allows():
            raise unavailable("paused")
        given = client.request.headers
        headers = {name: given[name] for name in self._headers if name in given}
        # In lower case like the others, so that they replace headers of these names from the client.
        headers |= {"x-original-uri": _ascii(client.path), "x-forwarded-for": client.address}
        self._asking += 1
        heard = False
        try:
            status, body = ask(self.url, headers, self.timeout, MAX_IDENTITY, self._trusted)
            # A client can cause its own refusal in many ways. This must not suspend the requests for others.
            heard = status < 500
            identity = _identity(status, body)
        except HttpError as error:
            raise unavailable("unavailable") from error
        finally:
            # Also if the time limit of the handshake ends the wait.
            self._asking -= 1
            if heard:
                self._breaker.succeeded()
            else:
                self._breaker.failed()
        if identity is None:
            raise Denied("denied", "You may not connect here.", status)
        return identity


def _identity(status: int, body: bytes) -> dict[str, Any] | None:
    """The identity in the answer; None for no identity. Raises HttpError for an invalid answer."""
    if status in (401, 403):
        return None
    if status == 204 or (status == 200 and not body.strip()):
        return {}
    if status != 200:
        raise HttpError(f"status {status}")
    try:
        identity = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        raise HttpError("no JSON") from None
    if not isinstance(identity, dict):
        raise HttpError("no JSON object")
    return identity


def _ascii(path: str) -> str:
    return quote(path, safe="/!$&'()*+,;=:@~")
