"""`http_auth`: an HTTP service decides which clients may connect."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import msgspec

from fws import Client, Help
from fws.auth.credential import Denied, unavailable
from fws.auth.login import deny
from fws.base.trace import headers as trace_headers
from fws.filters._asking import Asking, given, passed, undecided
from fws.http.error import HttpError
from fws.http.url import Url
from fws.pipeline.component import Setting

MAX_IDENTITY = 64 * 1024


class HttpAuth(Asking):
    """Ask an HTTP service whether a client may connect.

    On `connect`. The service gets a GET request with the chosen headers of the client's request, its path in
    `X-Original-URI` (without the query, which may contain secrets), and its address in `X-Forwarded-For`. With the
    status 200 the client is admitted, and the JSON object in the answer, `{"user": "ann", …}`, becomes its identity.
    With 204, or a 200 with `Content-Length: 0`, it is admitted without an identity. With 401 and 403 it is refused with
    the same status.

    In all other cases the client is refused with 503: another status, a redirect, no answer in time, or more than 64
    KiB. Requests are not repeated. An answer that is late or has a status of 500 or more is a failure. After `failures`
    of them in a row, no requests are made for the time of `pause`. Then one client's request tries the service again.
    While `at_once` clients wait for the service, further ones get 503. `fws test` and `fws try` ask the service, too.

    Example:
        connect = ["http_auth http://127.0.0.1:8000/who headers=authorization,cookie timeout=1s", "join lobby"]
    """

    guards = True

    url: Annotated[Url, Help("The service.")]
    headers: Annotated[tuple[str, ...], Help("Headers of the client's request that are passed to the service.")] = (
        "authorization",
        "cookie",
    )

    def prepare(self, setting: Setting) -> None:
        self._headers = passed(self.headers)
        self._service = self.open(self.url, setting, MAX_IDENTITY)

    def connect(self, client: Client) -> None:
        try:
            client.identity = self._ask(client)
        except Denied as denied:
            if denied.status == 403:  # every 401 counts as a failed login
                self.services.login_failed(client.address)
            deny(self, denied)

    def _ask(self, client: Client) -> dict[str, Any]:
        if self._service.busy:
            raise unavailable("busy")
        # The names are in lower case like the others, so that they replace headers of these names from the client.
        headers = given(client, self._headers)
        headers |= {"x-original-uri": _ascii(client.path), "x-forwarded-for": client.address, **trace_headers()}
        try:
            answer = self._service.ask("GET", headers)
            identity = _identity(answer.status, answer.body)
        except HttpError as error:
            self.complain(self.url, error, "connect", client)
            raise undecided(error) from error
        if identity is None:
            raise Denied("denied", "You may not connect here.", answer.status)
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
