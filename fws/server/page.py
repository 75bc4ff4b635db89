"""The page for operators, on the port of [admin]: its files, and the login that gives a cookie for a key.

The page itself is public there. Whatever it shows or does, it asks of the API.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from werkzeug.wrappers import Response

from fws.api.application import Api, Logins
from fws.api.methods import BY_NAME
from fws.api.session import Asked, Sessions, check_same_origin, set_cookie
from fws.base.errors import Refusal
from fws.server.streams import SECURE
from fws.wire.head import Head, Takes

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed.wsgi import WSGIEnvironment

_FOLDER = Path(__file__).parent / "page"
_TYPES = {"index.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
# Paths for POST: `/session` only says whether there is one, which is no failed login.
_LOGIN, _LOGOUT, _SESSION = _PATHS = "/login", "/logout", "/session"
# The most bytes of a login.
MAX_LOGIN = 4096
# Nothing is loaded from elsewhere, nothing in the page itself runs, and no other page may frame it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class _Login(msgspec.Struct, forbid_unknown_fields=True):
    key: str


class AdminPage:
    """Serves the page while there is an API.

    Args:
        api: the API of the port.
        sessions: makes the cookies that this API accepts.
        logins: limits wrong keys.
        refused: called with the status of each refusal, to count it.
    """

    def __init__(self, api: Api, sessions: Sessions, logins: Logins, refused: Callable[[int], object]) -> None:
        self._api = api
        self._sessions = sessions
        self._logins = logins
        self._refused = refused

    def takes(self, path: str) -> Takes | None:
        """As `Application.takes`."""
        if not self._api.path or path not in _PATHS:
            return None
        return Takes(body=MAX_LOGIN, check=self._check_login if path == _LOGIN else self._check)

    def _check_login(self, head: Head, address: str) -> None:
        self._check(head, address)
        self._logins.check_logins(address)

    @staticmethod
    def _check(head: Head, address: str) -> None:
        check_same_origin(Asked.by_head(head))

    def respond(self, path: str, environ: WSGIEnvironment) -> Response | None:
        """The response; None if the path is not the page's."""
        if not self._api.path:
            return None
        name = "index.html" if path == "/" else path.removeprefix("/")
        if name in _TYPES:
            if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
                return None
            return self._file(name)
        if path not in _PATHS:
            return None
        try:
            if environ["REQUEST_METHOD"] != "POST":
                raise Refusal(405, "This path is for POST only.", [("Allow", "POST")])
            asked = Asked.by_environ(environ)
            check_same_origin(asked)
            if path == _SESSION:
                present = self._sessions.key_in(asked, self._api.keys) is not None
                return Response(msgspec.json.encode(present), 200, [*HEADERS.items()], mimetype="application/json")
            cookie = self._login(environ) if path == _LOGIN else ""
        except Refusal as refusal:
            self._refused(refusal.status)
            headers = [*refusal.headers, *HEADERS.items()]
            return Response(f"{refusal.reason}\n", refusal.status, headers, mimetype="text/plain")
        headers = [*HEADERS.items(), ("Set-Cookie", set_cookie(asked, cookie, tls=environ.get(SECURE, False)))]
        return Response(b"{}", 200, headers, mimetype="application/json")

    def _login(self, environ: WSGIEnvironment) -> str:
        """The cookie for the key in the body. Raises Refusal."""
        address = environ.get("REMOTE_ADDR", "")
        self._logins.check_logins(address)
        try:
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            given = msgspec.json.decode(body, type=_Login).key
        except ValueError:
            raise Refusal(400, 'A login is {"key": "…"}.') from None
        key = self._api.keys.find(given.strip())
        if key is None:
            self._logins.login_failed(address)
            raise Refusal(401, "The API key is wrong.")
        if not key.permits(BY_NAME["stages"]):
            raise Refusal(403, f"The key {key.name} permits no view: it needs read or admin.")
        return self._sessions.begin(key)

    def _file(self, name: str) -> Response:
        content = (_FOLDER / name).read_text()
        if name == "index.html":
            content = content.replace("{api}", escape(self._api.path))
        return Response(content, 200, list(HEADERS.items()), content_type=f"{_TYPES[name]}; charset=utf-8")
