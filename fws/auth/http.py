"""One question to an HTTP service: no redirects, no second try, an end to how long it takes and how much it says."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from fws.errors import FwsError

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class HttpError(FwsError):
    """The service is not to be had, or says too much. Says why in a few words."""


class Url:
    """An http or https URL without user and password."""

    __slots__ = ("_text", "host", "port", "scheme", "target")

    def __init__(self, text: str, scheme: str, host: str, port: int | None, target: str) -> None:
        self._text = text
        self.scheme = scheme
        self.host = host
        self.port = port
        self.target = target

    @classmethod
    def parse(cls, text: str) -> Url:
        """Raises ValueError that says what is wrong."""
        if not isinstance(text, str) or not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("expected a URL such as https://host/path")
        parts = urlsplit(text)
        port = parts.port
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected a URL such as https://host/path")
        if parts.username is not None:
            raise ValueError("a URL has no user and password in it: they would be shown wherever the URL is")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(text, parts.scheme, parts.hostname, port, target)

    def __str__(self) -> str:
        return self._text

    @property
    def is_private(self) -> bool:
        """Whether nobody on the way can change what comes: it is TLS, or this machine."""
        return self.scheme == "https" or self.host in LOOPBACK


def ask(url: Url, headers: Mapping[str, str], timeout: float, limit: int) -> tuple[int, bytes]:
    """GET it. The status and the body.

    Args:
        timeout: seconds for all of it but the look-up of the host's name.
        limit: bytes that the body may have.

    Raises:
        HttpError: no answer in time, none that can be understood, or too long a one.
    """
    until = time.monotonic() + timeout
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = kind(url.host, url.port, timeout=timeout)
    response = None
    try:
        connection.request("GET", url.target, headers={"Accept": "application/json", **headers})
        # The response takes it over when the server is to close it.
        peer = connection.sock
        _bound(peer, until)
        response = connection.getresponse()
        body = b""
        while len(body) <= limit:
            _bound(peer, until)
            more = response.read1(limit + 1 - len(body))
            if not more:
                return response.status, body
            body += more
    except TimeoutError:
        raise HttpError(f"no answer within {timeout:g} s") from None
    except ssl.SSLError as error:
        raise HttpError(f"TLS: {error.reason or 'failed'}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise HttpError(getattr(error, "strerror", None) or type(error).__name__) from None
    finally:
        if response is not None:
            response.close()
        connection.close()
    raise HttpError(f"the answer has more than {limit} bytes")


def _bound(peer: Any, until: float) -> None:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    peer.settimeout(left)
