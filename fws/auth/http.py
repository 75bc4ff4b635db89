"""One question to an HTTP service: no redirects, no second try, an end to how long it takes and how much it says."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from fws.errors import FwsError

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class HttpError(FwsError):
    """The service is not to be had, or says too much. Says why in a few words."""


class Address(msgspec.Struct, frozen=True):
    """Where a service is."""

    scheme: str
    host: str
    port: int | None
    target: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Raises ValueError for what is no http or https URL."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not url.isascii() or not url.isprintable():
            raise ValueError("expected a URL such as https://host/path")
        if parts.username is not None:
            raise ValueError("a URL has no user and password in it: they would be shown wherever the URL is")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if " " in target:
            raise ValueError("a URL has no blanks")
        return cls(parts.scheme, parts.hostname, parts.port, target)

    @property
    def is_private(self) -> bool:
        """Whether nobody on the way can change what comes: it is TLS, or this machine."""
        return self.scheme == "https" or self.host in LOOPBACK


def ask(address: Address, headers: Mapping[str, str], timeout: float, limit: int) -> tuple[int, bytes]:
    """GET it. The status and the body.

    Args:
        timeout: seconds for all of it but the look-up of the host's name.
        limit: bytes that the body may have.

    Raises:
        HttpError: no answer in time, none that can be understood, or too long a one.
    """
    until = time.monotonic() + timeout
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = kind(address.host, address.port, timeout=timeout)
    try:
        connection.request("GET", address.target, headers={"Accept": "application/json", **headers})
        _bound(connection, until)
        response = connection.getresponse()
        body = b""
        while len(body) <= limit:
            _bound(connection, until)
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
        connection.close()
    raise HttpError(f"the answer has more than {limit} bytes")


def _bound(connection: http.client.HTTPConnection, until: float) -> None:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    if connection.sock is not None:
        connection.sock.settimeout(left)
