"""The API over HTTP: authentication, and the methods below a path. Errors of commands are answers with the status 200.

Whoever calls it is a back end, or the page for operators, which comes from the same origin. There are therefore no
headers for other origins (CORS).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from werkzeug.wrappers import Response

from fws.api.keys import Key, Keys
from fws.api.methods import BY_NAME
from fws.api.openapi import description
from fws.api.runner import Runner, Stream
from fws.api.session import Asked, Sessions
from fws.base.command_error import (
    BAD_REQUEST,
    INTERNAL,
    NOT_AVAILABLE,
    NOT_FOUND,
    UNRECOVERABLE_POSITION,
)
from fws.base.errors import Refusal
from fws.base.problem import did_you_mean
from fws.wire.head import Head, Takes

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# The statuses of errors for clients that ask for them.
STATUSES = {
    INTERNAL: 500,
    NOT_FOUND: 404,
    BAD_REQUEST: 400,
    NOT_AVAILABLE: 400,
    UNRECOVERABLE_POSITION: 416,
}
_DESCRIPTION = "openapi.json"
# nginx passes each event on at once, and nothing on the way changes it.
_STREAM = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}


class Logins(Protocol):
    """The limit on wrong credentials from one address."""

    def check_logins(self, address: str) -> None:
        """Raises Refusal, 429, after too many wrong ones."""

    def login_failed(self, address: str) -> None:
        """Credentials from this address were wrong."""


class Api:
    """The API at one path.

    Args:
        caller: runs the methods.
        logins: limits wrong keys.
        refused: called with the status of each refusal, to count it.
        sessions: of the page for operators, whose cookies count as keys here; None for none.

    Attributes:
        path: where it is; empty for nowhere.
        keys: who may call it.
        largest: the most bytes of a body.
    """

    def __init__(
        self, runner: Runner, logins: Logins, refused: Callable[[int], object], sessions: Sessions | None = None
    ) -> None:
        self._sessions = sessions
        self._runner = runner
        self._logins = logins
        self._refused = refused
        self.path = ""
        self.keys = Keys()
        self.largest = 0

    def has(self, path: str) -> bool:
        """Whether a decoded path is the API's, even if there is no such method."""
        return bool(self.path) and (path == self.path or path.startswith(f"{self.path}/"))

    def takes(self, path: str) -> Takes | None:
        """What a path takes besides GET and HEAD; None if it takes nothing else."""
        if not self.has(path) or path == f"{self.path}/{_DESCRIPTION}":
            return None
        return Takes(body=self.largest, check=self._check)

    def _check(self, head: Head, address: str) -> None:
        self._key_of(Asked.by_head(head), address)

    def _key_of(self, asked: Asked, address: str) -> Key:
        """The key of a request. Raises Refusal, 401, 403 or 429."""
        given, authorization = asked("x-api-key"), asked("authorization")
        if given is None and authorization is None and self._sessions is not None:
            # Whoever has a session is not held up by the failed logins of others behind the same address.
            key = self._sessions.key_of(asked, self.keys)
            if key is not None:
                return key
        self._logins.check_logins(address)
        scheme, _, secret = (authorization or "").strip().partition(" ")
        if given is None and scheme.lower() == "apikey":
            given = secret.strip()
        key = self.keys.find(given) if given else None
        if key is None:
            self._logins.login_failed(address)
            reason = "The API key is wrong." if given else "The API needs a key: send it in the header X-API-Key."
            raise Refusal(401, reason, [("WWW-Authenticate", "apikey")])
        return key

    def respond(self, path: str, environ: WSGIEnvironment) -> Response:
        """Answer a request to one of its paths."""
        try:
            key = self._key_of(Asked.by_environ(environ), environ.get("REMOTE_ADDR", ""))
            name = path.removeprefix(self.path).removeprefix("/")
            if name == _DESCRIPTION:
                return _json(description(self.path))
            if environ["REQUEST_METHOD"] != "POST":
                raise Refusal(405, "The API is called with POST.", [("Allow", "POST")])
            if name and name not in BY_NAME:
                hint = did_you_mean(name, BY_NAME)
                raise Refusal(404, f"The API has no method {name[:50]!r}" + (f": {hint}" if hint else "."))
            return self._called(key, name, environ)
        except Refusal as refusal:
            self._refused(refusal.status)
            return Response(f"{refusal.reason}\n", refusal.status, list(refusal.headers), mimetype="text/plain")

    def _called(self, key: Key, name: str, environ: WSGIEnvironment) -> Response:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        by_status = environ.get("HTTP_X_CENTRIFUGO_ERROR_MODE") == "transport"
        try:
            if not name:
                lines = [msgspec.json.encode(reply) for reply in self._runner.lines(key, body)]
                return Response(b"\n".join(lines), mimetype="application/json")
            reply = self._runner.call(key, name, body)
        except ValueError as error:
            wrong = {"code": BAD_REQUEST, "message": str(error)}
            return _json(wrong if by_status else {"error": wrong}, 400)
        if isinstance(reply, Stream):
            reply.is_permitted = lambda: self.keys.permit(key, BY_NAME[name])  # a reload may change the keys
            return Response(reply, mimetype="text/event-stream", headers=_STREAM)
        if by_status and "error" in reply:
            return _json(reply["error"], STATUSES.get(reply["error"]["code"], 500))
        return _json(reply)


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, mimetype="application/json")
