"""`http_auth`: another service says who may come in."""

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
from fws.pipeline.filter import Setting

MAX_IDENTITY = 64 * 1024


class HttpAuth(Filter):
    """Ask an HTTP service whether a client may come in.

    On `connect`. The service gets a GET with the chosen headers of the client's request, its path in `X-Original-URI`
    (without the query, which may hold secrets) and its address in `X-Forwarded-For`. 200 lets the client in, and the
    JSON object in the answer, `{"user": "ann", …}`, becomes its identity; 204, or `Content-Length: 0`, lets it in
    without one. 401 and 403 refuse it with the same status.

    Anything else refuses it with 503: another status, no answer in time, a redirect, more than 64 KiB. Nothing is
    asked twice. After `failures` in a row, no answer in time or a status from 500 on, nobody asks for the time of
    `pause`; then one client does.

    Example:
        connect = ["http_auth http://127.0.0.1:8000/who headers=authorization,cookie timeout=1s", "join lobby"]
    """

    guards = True

    url: Annotated[Url, Help("The service.")]
    headers: Annotated[tuple[str, ...], Help("Headers of the client's request that the service gets.")] = (
        "authorization",
        "cookie",
    )
    timeout: Annotated[Duration, Meta(gt=0), Help("For the whole answer.")] = 2.0
    failures: Annotated[int, Meta(ge=1), Help("Failures in a row after which the service is left alone.")] = 5
    pause: Annotated[Duration, Meta(gt=0), Help("How long it is left alone.")] = 10.0
    at_once: Annotated[int, Meta(ge=1), Help("Clients that may wait for the service at once; more get 503.")] = 100
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
            if denied.status == 403:  # a 401 counts for every filter
                self.services.login_failed(client.address)
            deny(self, denied)

    def _ask(self, client: Client) -> dict[str, Any]:
        if self._asking >= self.at_once:
            raise unavailable("busy")
        if not self._breaker.allows():
            raise unavailable("paused")
        given = client.request.headers
        headers = {name: given[name] for name in self._headers if name in given}
        # Lower-case as the others, so that what a client says of itself under these names is replaced.
        headers |= {"x-original-uri": _ascii(client.path), "x-forwarded-for": client.address}
        self._asking += 1
        heard = False
        try:
            status, body = ask(self.url, headers, self.timeout, MAX_IDENTITY, self._trusted)
            # With what it sends a client can have itself refused in many ways. That must not shut out the others.
            heard = status < 500
            identity = _identity(status, body)
        except HttpError as error:
            raise unavailable("unavailable") from error
        finally:
            # Also when the time for the handshake is over while we wait.
            self._asking -= 1
            if heard:
                self._breaker.succeeded()
            else:
                self._breaker.failed()
        if identity is None:
            raise Denied("denied", "You may not connect here.", status)
        return identity


def _identity(status: int, body: bytes) -> dict[str, Any] | None:
    """Who the service says it is; None for nobody. Raises HttpError for what is no answer."""
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
