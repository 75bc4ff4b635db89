"""The listener and the application as the handlers of connections see them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from fws.base.novelty import Novelty
from fws.server.node import Node
from fws.server.waiting import Waiting
from fws.wire.head import Takes

if TYPE_CHECKING:
    from fws.server.certificates import CertificateStore


class Application(Protocol):
    """The WSGI application for plain HTTP."""

    def takes(self, path: str, /) -> Takes | None:
        """What a path takes besides GET and HEAD; None if it takes nothing else. Asked before the head is complete."""

    def __call__(self, environ: Any, start_response: Any, /) -> Iterable[bytes]:
        """Answer a request."""


class Front(Protocol):
    """The listener as its handlers see it.

    Attributes:
        node: the parts of the process.
        application: answers plain HTTP.
        trusted: networks of proxies whose headers are trusted.
        proxy_protocol: whether these proxies send PROXY headers.
        tls: certificates; None for no TLS.
        websockets: whether requests may become WebSockets.
        draining: whether upgrades are refused.
        waiting: connections whose peers are waited for.
        failures: failed plain requests that were logged lately.
    """

    node: Node
    application: Application
    trusted: Any
    proxy_protocol: bool
    tls: CertificateStore | None
    websockets: bool
    draining: bool
    waiting: Waiting
    failures: Novelty
