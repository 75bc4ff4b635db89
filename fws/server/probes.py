"""What `[admin]` serves for monitoring systems and orchestrators: `/metrics` and `/readyz`, before everything else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from werkzeug.wrappers import Response

from fws.server.front import Application
from fws.wire.head import Takes

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from fws.server.monitor import Monitor

# What answers while the server is starting.
_EARLY = ("/healthz",)


class Probes:
    """The WSGI application of the operators' listener.

    Args:
        application: answers everything else.
        monitor: knows the metrics, and whether new clients can be served.

    Attributes:
        started: whether the filters have started. Nothing else is served before.
    """

    def __init__(self, application: Application, monitor: Monitor) -> None:
        self.started = False
        self._application = application
        self._monitor = monitor

    def takes(self, path: str) -> Takes | None:
        """As that of the application."""
        return self._application.takes(path) if self.started else None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            text, kind = self._monitor.page(environ.get("HTTP_ACCEPT", ""))
            response = Response(text, content_type=kind)
        elif path == "/readyz":
            problem = self._monitor.problem()
            response = Response(f"{problem or 'ready'}\n", 503 if problem else 200, mimetype="text/plain")
        elif self.started or path in _EARLY:
            return self._application(environ, start_response)
        else:
            response = Response("The server is starting.\n", 503, {"Retry-After": "1"}, mimetype="text/plain")
        # A connection that is kept would stay with one worker, also when that one is frozen.
        response.headers["Connection"] = "close"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
        return response(environ, start_response)
