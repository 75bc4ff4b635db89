"""Plain HTTP: the health check, the API, static files, and a sentence for everything else.

Outside the API, the WSGI application answers GET and HEAD. It never lists a folder, and it serves a file only if the
file is inside the static folder after all symbolic links have been resolved.
"""

from __future__ import annotations

import errno
import mimetypes
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.security import safe_join
from werkzeug.utils import send_file
from werkzeug.wrappers import Response

from fws.wire.head import Takes

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from fws.api.application import Api
    from fws.server.page import AdminPage
    from fws.server.streams import Streams

# The key of a WSGI environ under which the log finds why a request failed. Clients get the same answer for all reasons.
REASON = "fws.reason"
_INDEX = "index.html"
# One range of bytes (RFC 9110 14.1.2).
_RANGE = re.compile(r"bytes=[ \t]*(?:[0-9]+-[0-9]*|-[0-9]+)[ \t]*", re.IGNORECASE)
# The only name with a leading dot that is public (RFC 8615), at the root only.
_WELL_KNOWN = "/.well-known/"
_HEALTHY = ("ok", "degraded")
# Python's own table without the machine's files, so that a type does not depend on where fws runs. The types below are
# missing in Python 3.11 or outdated there (RFC 9239 for JavaScript).
_TYPES = mimetypes.MimeTypes()
for _type, _ending in [
    ("text/javascript", ".js"),
    ("text/javascript", ".mjs"),
    ("application/manifest+json", ".webmanifest"),
    ("font/woff2", ".woff2"),
    ("font/woff", ".woff"),
    ("image/webp", ".webp"),
]:
    _TYPES.add_type(_type, _ending)


class Web:
    """The WSGI application for requests that do not open a WebSocket.

    Args:
        static: the folder whose files are served, or None.
        health: returns the answer of `/healthz`; its "status" is "ok", "degraded" or the name of a failure.
        is_endpoint: whether a WebSocket may be opened at this path.
        api: the HTTP API; None for none.
        streams: answers for clients over plain HTTP; None if there are none here.
        page: the page for operators; None if it is not here.
    """

    def __init__(
        self,
        *,
        static: Path | None,
        health: Callable[[], dict[str, Any]],
        is_endpoint: Callable[[str], bool],
        api: Api | None = None,
        streams: Streams | None = None,
        page: AdminPage | None = None,
    ) -> None:
        self.static = static
        self._api = api
        self._streams = streams
        self._page = page
        self._health = health
        self._is_endpoint = is_endpoint

    def takes(self, path: str) -> Takes | None:
        """What a path takes besides GET and HEAD; None if it takes nothing else."""
        for one in (self._api, self._streams, self._page):
            if one is not None and (takes := one.takes(path)) is not None:
                return takes
        return None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        response = self._respond(environ)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.setdefault("Cache-Control", "no-cache")
        if response.status_code >= 400:
            environ.setdefault(REASON, response.get_data(as_text=True).strip())
        return response(environ, start_response)

    def _respond(self, environ: WSGIEnvironment) -> Response:
        try:
            path = environ["PATH_INFO"].encode("latin-1").decode()  # PEP 3333 carries bytes as Latin-1
        except UnicodeError:
            return _sentence(400, "The path is not UTF-8.")
        if self._api is not None and self._api.has(path):
            return self._api.respond(path, environ)
        if self._streams is not None and (streamed := self._streams.respond(path, environ)) is not None:
            return streamed
        if self._page is not None and (shown := self._page.respond(path, environ)) is not None:
            return shown
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _sentence(405, "Only GET and HEAD are served.", {"Allow": "GET, HEAD"})
        if path == "/healthz":
            return self._healthz()
        response = self._file(path, environ)
        if response is not None:
            return response
        if self._is_endpoint(path):
            environ.pop(REASON, None)
            headers = {"Upgrade": "websocket", "Connection": "Upgrade"}  # RFC 9110 7.8 and 15.5.22
            return _sentence(426, "This is a WebSocket endpoint: connect with a WebSocket client.", headers)
        return _sentence(404, "There is nothing at this path.")

    def _healthz(self) -> Response:
        health = self._health()
        status = 200 if health.get("status") in _HEALTHY else 503
        return Response(msgspec.json.encode(health), status, mimetype="application/json")

    def _file(self, path: str, environ: WSGIEnvironment) -> Response | None:
        """The response with the static file at this path; None if it is missing or forbidden, which look the same."""
        if self.static is None:
            environ[REASON] = "[server] static is not set"
            return None
        if not _RANGE.fullmatch(environ.get("HTTP_RANGE", "")):
            # Other units, several ranges and invalid ranges get the whole file (RFC 9110 14.2).
            environ.pop("HTTP_RANGE", None)
        try:
            name = _locate(self.static, path + _INDEX if path.endswith("/") else path)
            if os.path.isfile(name):  # opening anything else, such as a named pipe, could block
                return send_file(name, environ, mimetype=_content_type(name), conditional=True)
            if os.path.isfile(_locate(self.static, f"{path}/{_INDEX}")):
                return _add_slash(environ)
        except RequestedRangeNotSatisfiable as error:
            return _sentence(416, "The file has no such range.", {"Content-Range": f"bytes */{error.length}"})
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:  # unreadable, too long, a loop of links; a NUL in the name
            environ[REASON] = getattr(error, "strerror", None) or str(error)
            return None
        environ[REASON] = "there is no such file"
        return None


def _locate(static: Path, path: str) -> str:
    """The real file name, without symbolic links, for a request path.

    Names with a leading dot are refused, except for `/.well-known/`. This concerns the request's path only: symbolic
    links may lead through such names (`current -> .releases/7`, Kubernetes' `..data`), as long as they stay inside.

    Raises:
        OSError: there is no such file, or it is not public.
        ValueError: the path cannot be a file name.
    """
    root = os.path.realpath(static, strict=True)
    joined = safe_join(root, path.removeprefix("/"))
    if joined is None or any(part.startswith(".") for part in path.removeprefix(_WELL_KNOWN).split("/")):
        raise PermissionError(errno.EACCES, "a name in the path begins with a dot")
    name = os.path.realpath(joined, strict=True)
    if os.path.commonpath([root, name]) != root:
        raise PermissionError(errno.EACCES, "a symbolic link leads out of the static folder")
    return name


def _content_type(name: str) -> str:
    kind, encoding = _TYPES.guess_type(name)
    return "application/octet-stream" if kind is None or encoding else kind


def _add_slash(environ: WSGIEnvironment) -> Response:
    """Redirect to the folder's address with a slash, because the relative links of its index depend on that."""
    address = quote(environ.get("SCRIPT_NAME", "") + environ["PATH_INFO"], encoding="latin-1") + "/"
    if environ.get("QUERY_STRING"):
        address += "?" + environ["QUERY_STRING"]
    # Not permanent (301, 308): browsers would remember it for localhost:9000 across projects.
    return _sentence(307, "The address of this folder ends with a slash.", {"Location": address})


def _sentence(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return Response(text + "\n", status, headers, mimetype="text/plain")
